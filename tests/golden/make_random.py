"""Known answers of threefry2x32 with 20 rounds, and of JAX's random bits, keys and uniforms.

The block function is written from Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"
and must give that paper's published test vectors. JAX's streams, with
jax_threefry_partitionable=True, must then follow from the block function as `streams` says.
"""

import jax
import jax.extend

jax.config.update("jax_threefry_partitionable", True)

import numpy as np

from golden_file import versions, write_json

MASK = 0xFFFFFFFF
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA

# Random123's kat_vectors, "threefry2x32 20": counter, key, answer.
PUBLISHED = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((MASK, MASK), (MASK, MASK), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
KEYS = [(0, 0), (0, 42), (1, 0), (0x13198A2E, 0x03707344), (MASK, MASK)]
COUNTERS = [(0, 0), (0, 1), (1, 0), (0, MASK), (MASK, 0), (7, 0x80000000), (0xDEADBEEF, 0x01234567)]
LENGTHS = [1, 2, 3, 8, 33]
SHAPE = (2, 3, 5)
FOLDED = [0, 1, 2, 1000, 0x7FFFFFFF, MASK]


def threefry2x32(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """One block: two words of key and two of counter give two words."""
    schedule = (key[0], key[1], PARITY ^ key[0] ^ key[1])
    x0, x1 = (counter[0] + schedule[0]) & MASK, (counter[1] + schedule[1]) & MASK
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = (x0 + x1) & MASK
            x1 = ((x1 << rotation | x1 >> (32 - rotation)) & MASK) ^ x0
        x0 = (x0 + schedule[(group + 1) % 3]) & MASK
        x1 = (x1 + schedule[(group + 2) % 3] + group + 1) & MASK
    return x0, x1


def bits(key: tuple[int, int], count: int) -> list[int]:
    """Element i is x0 ^ x1 of the block whose counter is (high word of i, low word of i)."""
    blocks = (threefry2x32(key, (i >> 32, i & MASK)) for i in range(count))
    return [x0 ^ x1 for x0, x1 in blocks]


def uniform(word: int) -> float:
    """The upper 23 bits as the fraction of a float in [1, 2), less one."""
    return float(np.array(word >> 9 | 0x3F800000, np.uint32).view(np.float32) - np.float32(1))


def jax_key(key: tuple[int, int]) -> jax.Array:
    return jax.random.wrap_key_data(np.array(key, np.uint32), impl="threefry2x32")


def key_words(key: jax.Array) -> list[int]:
    return np.asarray(jax.random.key_data(key)).tolist()


def block_answers() -> list[dict]:
    for counter, key, answer in PUBLISHED:
        assert threefry2x32(key, counter) == answer
    answers = []
    for key in KEYS:
        for counter in COUNTERS:
            ours = threefry2x32(key, counter)
            theirs = jax.extend.random.threefry_2x32(
                np.array(key, np.uint32), np.array(counter, np.uint32)
            )
            assert list(ours) == np.asarray(theirs).tolist(), (key, counter)
            answers.append({"key": list(key), "counter": list(counter), "answer": list(ours)})
    return answers


def stream_answers() -> list[dict]:
    answers = []
    for key in KEYS:
        for length in LENGTHS:
            theirs = np.asarray(jax.random.bits(jax_key(key), (length,), "uint32")).tolist()
            assert theirs == bits(key, length), (key, length)
        shaped = np.asarray(jax.random.bits(jax_key(key), SHAPE, "uint32"))
        assert shaped.reshape(-1).tolist() == bits(key, shaped.size)
        floats = np.asarray(jax.random.uniform(jax_key(key), (LENGTHS[-1],), "float32")).tolist()
        assert floats == [uniform(word) for word in theirs]
        answers.append({"key": list(key), "bits": theirs, "uniform": floats})
    return answers


def folded_answers() -> list[dict]:
    answers = []
    for key in KEYS:
        for data in FOLDED:
            theirs = key_words(jax.random.fold_in(jax_key(key), np.uint32(data)))
            assert theirs == list(threefry2x32(key, (0, data))), (key, data)
            answers.append({"key": list(key), "data": data, "answer": theirs})
    return answers


def split_answers() -> list[dict]:
    answers = []
    for key in KEYS:
        theirs = [key_words(part) for part in jax.random.split(jax_key(key), 3)]
        assert theirs == [list(threefry2x32(key, (0, i))) for i in range(3)], key
        answers.append({"key": list(key), "answer": theirs})
    return answers


def main() -> None:
    assert key_words(jax.random.key(42, impl="threefry2x32")) == [0, 42]
    write_json(
        "random.json",
        {
            "words": "Unsigned 32-bit. A key is [k0, k1], a counter [c0, c1], an answer [x0, x1].",
            "streams": {
                "bits": "element i, row-major: x0 ^ x1 of block(key, [i >> 32, i & 0xffffffff])",
                "uniform": "float32 with bits (word >> 9 | 0x3f800000), minus 1, exactly",
                "foldIn": "block(key, [0, data]) is the new key",
                "split": "key i is block(key, [i >> 32, i & 0xffffffff])",
                "seed": "key of a 32-bit seed s is [0, s]",
            },
            "published": [
                {"key": list(key), "counter": list(counter), "answer": list(answer)}
                for counter, key, answer in PUBLISHED
            ],
            "block": block_answers(),
            "bits": stream_answers(),
            "foldIn": folded_answers(),
            "split": split_answers(),
            "versions": versions(),
        },
    )


if __name__ == "__main__":
    main()

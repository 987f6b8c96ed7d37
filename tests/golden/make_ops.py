"""Golden values of single operations in f64, and of rounding f32 to bf16 and f16 bit for bit.

Floating inputs are rounded to f32 once and then computed with in f64. Derivatives and gradients
are written out by hand and compared with JAX's, so that two derivations stand behind each number.
"""

import math

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from golden_file import versions, write_json, write_tensors

SEED = 20160630
NORM_EPSILON = 1e-6
ATTENTION = {"batch": 2, "heads": 3, "queries": 5, "keys": 7, "headDim": 4}
NORMS = {
    # Name -> (centred, scaled, biased, offset added to the input).
    "layer_norm": (True, True, True, 0.0),
    "layer_norm_plain": (True, False, False, 0.0),
    "layer_norm_offset": (True, True, True, 100.0),
    "rms_norm": (False, True, False, 0.0),
}


def rounded(values) -> np.ndarray:
    """The nearest f32 values."""
    return np.asarray(values, np.float64).astype(np.float32)


def agree(ours, theirs, tolerance=1e-13) -> None:
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=tolerance, atol=tolerance)


def erf(x):
    return np.vectorize(math.erf)(x)


def erf_slope(x):
    return 2 / math.sqrt(math.pi) * np.exp(-(x**2))


def gelu_erf(x):
    # erfc keeps the digits of the left tail, where 1 + erf cancels.
    return x * 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))


def gelu_erf_slope(x):
    return 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2)) + x * np.exp(-(x**2) / 2) / math.sqrt(
        2 * math.pi
    )


def gelu_tanh(x):
    # 0.5 (1 + tanh u) is 1 / (1 + exp(-2u)), which keeps the digits of the left tail.
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def gelu_tanh_slope(x):
    c = math.sqrt(2 / math.pi)
    s = sigmoid(2 * c * (x + 0.044715 * x**3))
    return s + x * s * (1 - s) * 2 * c * (1 + 3 * 0.044715 * x**2)


def sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


ELEMENTWISE = {
    "erf": (erf, erf_slope, jax.scipy.special.erf),
    "gelu_erf": (gelu_erf, gelu_erf_slope, lambda x: jax.nn.gelu(x, approximate=False)),
    "gelu_tanh": (gelu_tanh, gelu_tanh_slope, lambda x: jax.nn.gelu(x, approximate=True)),
}


def elementwise(tensors) -> None:
    """Values and derivatives on a grid, and at magnitudes where a careless formula breaks."""
    near_zero = [s * m for m in (1e-45, 1e-38, 1e-20, 1e-8, 1e-4, 1e-2) for s in (1, -1)]
    tensors["elementwise/grid/x"] = rounded(np.concatenate([np.linspace(-12, 12, 385), near_zero]))
    # The cube of the last two leaves the range of f32.
    tensors["elementwise/extremes/x"] = rounded(
        [s * m for m in (20, 50, 1e3, 1e6, 1e20, 3e38) for s in (1, -1)]
    )
    for part in ("grid", "extremes"):
        x = tensors[f"elementwise/{part}/x"].astype(np.float64)
        for name, (value, slope, theirs) in ELEMENTWISE.items():
            y, dy = value(x), slope(x)
            agree(y, theirs(x))
            if part == "grid":
                agree(dy, jax.vmap(jax.grad(theirs))(jnp.asarray(x)))
            tensors[f"elementwise/{part}/{name}/value"] = y
            tensors[f"elementwise/{part}/{name}/derivative"] = dy


def norms(tensors, rng) -> None:
    """Layer norm over the last axis, with the gradients of the sum of cotangent times output."""
    shape = (2, 3, 7)
    scale, bias = rounded(1 + 0.3 * rng.standard_normal(7)), rounded(0.5 * rng.standard_normal(7))
    for name, (centred, scaled, biased, offset) in NORMS.items():
        x, cotangent = (
            rounded(rng.standard_normal(shape) + offset),
            rounded(rng.standard_normal(shape)),
        )
        inputs = (
            {"x": x} | ({"scale": scale} if scaled else {}) | ({"bias": bias} if biased else {})
        )
        wide = {key: value.astype(np.float64) for key, value in inputs.items()}
        output, gradients = norm_by_hand(wide, cotangent.astype(np.float64), centred)

        def theirs(p, centred=centred):
            rest = p["x"] - p["x"].mean(axis=-1, keepdims=True) if centred else p["x"]
            unit = rest * jax.lax.rsqrt((rest**2).mean(axis=-1, keepdims=True) + NORM_EPSILON)
            return unit * p.get("scale", 1.0) + p.get("bias", 0.0)

        check_vjp(theirs, wide, cotangent, output, gradients)
        store(tensors, name, inputs, cotangent, output, gradients)


def norm_by_hand(p, cotangent, centred):
    rest = p["x"] - p["x"].mean(axis=-1, keepdims=True) if centred else p["x"]
    inverse = 1 / np.sqrt((rest**2).mean(axis=-1, keepdims=True) + NORM_EPSILON)
    unit = rest * inverse
    inner = cotangent * p.get("scale", 1.0)
    along = inner - unit * (inner * unit).mean(axis=-1, keepdims=True)
    if centred:
        along = along - inner.mean(axis=-1, keepdims=True)
    gradients = {"x": along * inverse}
    if "scale" in p:
        gradients["scale"] = (cotangent * unit).sum(axis=(0, 1))
    if "bias" in p:
        gradients["bias"] = cotangent.sum(axis=(0, 1))
    return unit * p.get("scale", 1.0) + p.get("bias", 0.0), gradients


def softmaxes(tensors, rng) -> None:
    """Softmax and its logarithm over the last axis; some rows far from zero or nearly one-hot."""
    x = rng.standard_normal((4, 3, 9)) * np.array([1, 10, 0.01]).reshape(3, 1)
    x[1] += 1000
    x[2] -= 1000
    x[3, :, 4] += 200
    inputs, cotangent = {"x": rounded(x)}, rounded(rng.standard_normal(x.shape))
    wide, ct = {"x": inputs["x"].astype(np.float64)}, cotangent.astype(np.float64)
    log_p, p = log_softmax(wide["x"]), softmax(wide["x"])
    gradient = {"x": p * (ct - (ct * p).sum(axis=-1, keepdims=True))}
    check_vjp(lambda q: jax.nn.softmax(q["x"]), wide, cotangent, p, gradient)
    store(tensors, "softmax", inputs, cotangent, p, gradient)
    gradient = {"x": ct - p * ct.sum(axis=-1, keepdims=True)}
    check_vjp(lambda q: jax.nn.log_softmax(q["x"]), wide, cotangent, log_p, gradient)
    store(tensors, "log_softmax", inputs, cotangent, log_p, gradient)


def log_softmax(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(x):
    return np.exp(log_softmax(x))


def cross_entropies(tensors, rng) -> None:
    """Per-example losses [B], their mean, and the mean's gradients with respect to both inputs."""
    logits = rng.standard_normal((5, 6)) * 3
    logits[3] += 500
    logits[4] = [80, -80, 0, 120, -120, 1e-3]
    labels = np.array(
        [
            [1, 0, 0, 0, 0, 0],
            [0.25, 0.125, 0.5, 0, 0.125, 0],
            [0.5, 0.5, 0.5, 0, 0, 0.25],
            [0, 0, 0, 0, 0, 0],
            [0.75, 0, 0, 0, 0.25, 0],
        ]
    )
    inputs = {"logits": rounded(logits), "labels": rounded(labels)}
    wide = {key: value.astype(np.float64) for key, value in inputs.items()}
    z, y, batch = wide["logits"], wide["labels"], len(logits)
    log_on, log_off = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    cases = {
        "softmax_cross_entropy": (
            -(y * log_softmax(z)).sum(axis=-1),
            y.sum(axis=-1, keepdims=True) * softmax(z) - y,
            -log_softmax(z),
            lambda p: -(p["labels"] * jax.nn.log_softmax(p["logits"])).sum(axis=-1).mean(),
        ),
        "sigmoid_cross_entropy": (
            -(y * log_on + (1 - y) * log_off).sum(axis=-1),
            sigmoid(z) - y,
            -z,
            lambda p: (
                -(
                    p["labels"] * jax.nn.log_sigmoid(p["logits"])
                    + (1 - p["labels"]) * jax.nn.log_sigmoid(-p["logits"])
                )
                .sum(axis=-1)
                .mean()
            ),
        ),
    }
    for name, (losses, by_logits, by_labels, theirs) in cases.items():
        gradients = {"logits": by_logits / batch, "labels": by_labels / batch}
        value, by = jax.value_and_grad(theirs)(wide)
        agree(losses.mean(), value)
        for key, gradient in gradients.items():
            agree(gradient, by[key])
            tensors[f"{name}/gradients/{key}"] = gradient
            tensors[f"{name}/inputs/{key}"] = inputs[key]
        tensors[f"{name}/losses"] = losses
        tensors[f"{name}/mean"] = losses.mean()


def attention(tensors, rng) -> None:
    """softmax(q k^T / sqrt(d)) v over [B, H, N, d], with the log-sum-exp of the scaled logits."""
    b, h, nq, nk, d = ATTENTION.values()
    shapes = {"query": (b, h, nq, d), "key": (b, h, nk, d), "value": (b, h, nk, d)}
    inputs = {key: rounded(rng.standard_normal(shape) * 1.5) for key, shape in shapes.items()}
    cotangent, lse_cotangent = (
        rounded(rng.standard_normal(shapes["query"])),
        rounded(rng.standard_normal((b, h, nq))),
    )
    q, k, v = (value.astype(np.float64) for value in inputs.values())
    logits = q @ k.swapaxes(-1, -2) / math.sqrt(d)
    lse = np.log(np.exp(logits).sum(axis=-1))
    weights = np.exp(logits - lse[..., None])
    output = weights @ v

    def theirs(p):
        s = jnp.einsum("bhqd,bhkd->bhqk", p["query"], p["key"]) / math.sqrt(d)
        return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(s), p["value"]), jax.nn.logsumexp(
            s, axis=-1
        )

    wide = {"query": q, "key": k, "value": v}
    plain = attention_gradients(q, k, v, weights, cotangent.astype(np.float64), np.zeros_like(lse))
    both = attention_gradients(
        q, k, v, weights, cotangent.astype(np.float64), lse_cotangent.astype(np.float64)
    )
    check_vjp(lambda p: theirs(p)[0], wide, cotangent, output, plain)
    agree(lse, theirs(wide)[1])
    _, back = jax.vjp(theirs, wide)
    (by,) = back((cotangent.astype(np.float64), lse_cotangent.astype(np.float64)))
    for key in shapes:
        agree(both[key], by[key])
    # JAX's own attention takes [B, N, H, d] and computes its softmax in f32.
    swapped = [jnp.swapaxes(wide[key], 1, 2) for key in shapes]
    agree(output, jnp.swapaxes(jax.nn.dot_product_attention(*swapped), 1, 2), 1e-6)
    store(tensors, "attention", inputs, cotangent, output, plain)
    tensors |= {f"attention/gradients_with_lse/{key}": value for key, value in both.items()}
    tensors |= {
        "attention/lse_cotangent": lse_cotangent,
        "attention/logits": logits,
        "attention/weights": weights,
        "attention/lse": lse,
    }


def attention_gradients(q, k, v, weights, cotangent, lse_cotangent):
    by_weights = cotangent @ v.swapaxes(-1, -2)
    row = (by_weights * weights).sum(axis=-1, keepdims=True) - lse_cotangent[..., None]
    by_logits = weights * (by_weights - row) / math.sqrt(q.shape[-1])
    return {
        "query": by_logits @ k,
        "key": by_logits.swapaxes(-1, -2) @ q,
        "value": weights.swapaxes(-1, -2) @ cotangent,
    }


def check_vjp(function, inputs, cotangent, output, gradients) -> None:
    value, back = jax.vjp(function, inputs)
    agree(output, value)
    (by,) = back(jnp.asarray(cotangent, jnp.float64))
    for key, gradient in gradients.items():
        agree(gradient, by[key], 1e-12)


def store(tensors, name, inputs, cotangent, output, gradients) -> None:
    tensors |= {f"{name}/inputs/{key}": value for key, value in inputs.items()}
    tensors |= {f"{name}/gradients/{key}": value for key, value in gradients.items()}
    tensors |= {f"{name}/cotangent": cotangent, f"{name}/output": output}


def round_bits(word: int, exponent_bits: int, fraction_bits: int) -> int:
    """Nearest, ties to even, of a finite or infinite f32 given as bits; the answer as bits."""
    sign, exponent, fraction = word >> 31, word >> 23 & 0xFF, word & 0x7FFFFF
    top, bias = (1 << exponent_bits) - 1, (1 << exponent_bits - 1) - 1
    signed = sign << (exponent_bits + fraction_bits)
    if exponent == 0xFF:
        return signed | top << fraction_bits
    # The value is significand * 2^(power - 23); its last kept digit is 2^(place - fraction_bits).
    significand = fraction | (0x800000 if exponent else 0)
    power = max(exponent, 1) - 127
    place = max(power, 1 - bias)
    drop = 23 - fraction_bits + place - power
    quotient, remainder = significand >> drop, significand & (1 << drop) - 1
    half = 1 << drop >> 1
    if remainder > half or (remainder == half and quotient & 1):
        quotient += 1
    # Adding instead of joining lets a carry move into the exponent, up to infinity.
    finite = quotient + (place + bias - 1 << fraction_bits)
    return signed | min(finite, top << fraction_bits)


def assorted_words(rng) -> np.ndarray:
    """f32 bit patterns: plain values, both formats' edges with exact ties, random ones."""
    values = [
        0,
        1,
        1.5,
        1 / 3,
        math.pi,
        0.1,
        1e-3,
        255,
        256,
        257,
        2047,
        2048,
        2049,
        2051,
        1e5,
        1e10,
        1e30,
    ]
    words = [int(np.float32(v).view(np.uint32)) for v in values]
    f32_edges = [
        0x00000001,
        0x00007FFF,
        0x00008000,
        0x00008001,
        0x00018000,
        0x007FFFFF,
        0x00800000,
        0x7F7FFFFF,
        0x7F800000,
    ]
    bf16_edges = [
        0x7F7F0000,
        0x7F7F7FFF,
        0x7F7F8000,
        0x3F808000,
        0x3F818000,
        0x3F807FFF,
        0x3F808001,
        0x3FFF8000,
    ]
    # 65504 and the tie above it, the least normal and the least subnormal, and their halves.
    f16_values = [
        65504,
        65519,
        65519.996,
        65520,
        65536,
        2**-14,
        2**-14 * (1 - 2**-11),
        2**-24,
        2**-25,
        2**-26,
    ]
    f16_values += [
        1.5 * 2**-24,
        2.5 * 2**-24,
        1023.5 * 2**-24,
        1 + 2**-11,
        1 + 3 * 2**-11,
        2 - 2**-11,
    ]
    f16_edges = [
        int(np.float32(v).view(np.uint32)) + step for v in f16_values for step in (-1, 0, 1)
    ]
    words += f32_edges + bf16_edges + f16_edges
    words += [word | 0x80000000 for word in words]
    words += rng.integers(0, 1 << 32, 400, dtype=np.uint64).tolist()
    # Random fractions at the exponents that f16 can hold, normal or not.
    words += (rng.integers(0, 1 << 23, 400) | rng.integers(127 - 26, 127 + 17, 400) << 23).tolist()
    words = np.array(words, np.uint64).astype(np.uint32)
    return words[~np.isnan(words.view(np.float32))]


def rounding(tensors, rng) -> None:
    """Bits of f32, of its nearest bf16 and f16, and of these widened to f32 again, all as u32."""
    words = assorted_words(rng)
    floats = words.view(np.float32)
    nans = np.array(
        [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7F80FFFF, 0x7FBFFFFF, 0xFFFFFFFF], np.uint32
    )
    tensors |= {"rounding/f32": words, "rounding/nan/f32": nans}
    for name, dtype, sizes in (("bf16", ml_dtypes.bfloat16, (8, 7)), ("f16", np.float16, (5, 10))):
        ours = np.array([round_bits(word, *sizes) for word in words.tolist()], np.uint32)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            narrow, narrow_nans = floats.astype(dtype), nans.view(np.float32).astype(dtype)
            theirs_in_jax = np.asarray(jax.lax.convert_element_type(jnp.asarray(floats), dtype))
        np.testing.assert_array_equal(ours, narrow.view(np.uint16))
        np.testing.assert_array_equal(
            ours[normal(floats)], theirs_in_jax.view(np.uint16)[normal(floats)]
        )
        assert np.all(np.isnan(narrow_nans.astype(np.float32)))
        tensors[f"rounding/{name}"] = ours
        tensors[f"rounding/{name}_as_f32"] = narrow.astype(np.float32).view(np.uint32)


def normal(floats) -> np.ndarray:
    """JAX on a CPU may flush subnormal f32 inputs to zero, so that only the others are compared."""
    return ~((np.abs(floats) < 2**-126) & (floats != 0))


def main() -> None:
    rng = np.random.default_rng(SEED)
    tensors = {}
    elementwise(tensors)
    norms(tensors, rng)
    softmaxes(tensors, rng)
    cross_entropies(tensors, rng)
    attention(tensors, rng)
    rounding(tensors, rng)
    write_tensors("ops.safetensors", tensors)
    write_json(
        "ops.json",
        {
            "normEpsilon": NORM_EPSILON,
            "norms": {
                name: {"centred": centred, "scaled": scaled, "biased": biased, "offset": offset}
                for name, (centred, scaled, biased, offset) in NORMS.items()
            },
            "attention": ATTENTION | {"scale": 1 / math.sqrt(ATTENTION["headDim"])},
            "shapes": {name: list(np.shape(value)) for name, value in tensors.items()},
            "seed": SEED,
            "versions": versions(),
        },
    )


if __name__ == "__main__":
    main()

"""Golden values of small ViTs with the parts that ViT-22B and the papers before it added.

The parallel block, QK-norm, root-mean-square norms and left out biases are those of Dehghani et al.
2023, section 2; the attention pooling is that of Zhai et al. 2022, section 3.2, in the form of its
authors' JAX code, and without a query projection. One case a configuration; its fields are named as
in `VitOptions`. Parameters and inputs are rounded to f32 once; everything after that is f64.
"""

import math

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np

from golden_file import versions, write_json, write_tensors
from make_vit import loss_of

SEED = 20230210
BATCH, EPSILON = 2, 1e-6
SIZE = {
    "imageSize": 9,
    "patchSize": 3,
    "channels": 2,
    "width": 12,
    "depth": 2,
    "mlpWidth": 20,
    "heads": 3,
    "classes": 5,
}
HEAD_DIM = SIZE["width"] // SIZE["heads"]
TOKENS = (SIZE["imageSize"] // SIZE["patchSize"]) ** 2
SERIAL = {
    "block": "serial",
    "norm": "layer",
    "normBias": True,
    "qkNorm": "none",
    "qkNormBias": False,
    "qkvBias": True,
    "outBias": True,
    "mlpBias": True,
    "pool": "map",
    "mapQuery": True,
}
VIT_22B = SERIAL | {
    "block": "parallel",
    "norm": "rms",
    "normBias": False,
    "qkNorm": "rms",
    "qkvBias": False,
    "mapQuery": False,
}
CASES = {
    "vit_22b": VIT_22B,
    "one_out_bias": VIT_22B | {"outBias": False, "pool": "gap"},
    "centred": VIT_22B
    | {
        "norm": "layer",
        "qkNorm": "layer",
        "qkNormBias": True,
        "qkvBias": True,
        "mlpBias": False,
        "mapQuery": True,
    },
    "serial_map": SERIAL,
}


def parameter_shapes(case) -> dict[str, tuple[tuple[int, ...], str, int]]:
    """Name -> (shape, kind, fan-in), in the order in which the parameters are drawn."""
    width, hidden, heads = SIZE["width"], SIZE["mlpWidth"], SIZE["heads"]
    patch, channels, classes = SIZE["patchSize"], SIZE["channels"], SIZE["classes"]
    shapes = {}

    def linear(name, inputs, outputs, bias):
        shapes[f"{name}/kernel"] = ((*inputs, *outputs), "kernel", math.prod(inputs))
        if bias:
            shapes[f"{name}/bias"] = (tuple(outputs), "bias", 0)

    def norm(name, size, bias):
        shapes[f"{name}/scale"] = ((size,), "scale", 0)
        if bias:
            shapes[f"{name}/bias"] = ((size,), "bias", 0)

    def attention_and_mlp(name, parts):
        for part in parts:
            linear(f"{name}/attention/{part}", [width], [heads, HEAD_DIM], case["qkvBias"])
        linear(f"{name}/attention/out", [heads, HEAD_DIM], [width], case["outBias"])
        linear(f"{name}/mlp/in", [width], [hidden], case["mlpBias"])
        linear(f"{name}/mlp/out", [hidden], [width], case["mlpBias"])

    linear("patch", [patch, patch, channels], [width], True)
    shapes["position"] = ((TOKENS, width), "table", 0)
    for i in range(SIZE["depth"]):
        for part in ["norm1"] if case["block"] == "parallel" else ["norm1", "norm2"]:
            norm(f"encoder/{i}/{part}", width, case["normBias"])
        attention_and_mlp(f"encoder/{i}", ["query", "key", "value"])
        if case["qkNorm"] != "none":
            norm(f"encoder/{i}/attention/queryNorm", HEAD_DIM, case["qkNormBias"])
            norm(f"encoder/{i}/attention/keyNorm", HEAD_DIM, case["qkNormBias"])
    norm("norm", width, case["normBias"])
    if case["pool"] == "map":
        shapes["map/probe"] = ((width,), "table", 0)
        attention_and_mlp(
            "map", ["query", "key", "value"] if case["mapQuery"] else ["key", "value"]
        )
        norm("map/norm", width, case["normBias"])
    linear("head", [width], [classes], True)
    return shapes


def draw(case, rng) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Parameters, images and labels as f32. Nothing is zero or one: every gradient matters."""
    parameters = {}
    for name, (shape, kind, fan_in) in parameter_shapes(case).items():
        spread = {
            "kernel": 1.3 / math.sqrt(max(fan_in, 1)),
            "scale": 0.25,
            "bias": 0.2,
            "table": 0.5,
        }
        value = rng.standard_normal(shape) * spread[kind] + (1.0 if kind == "scale" else 0.0)
        parameters[name] = value.astype(np.float32)
    side, classes = SIZE["imageSize"], SIZE["classes"]
    images = rng.uniform(-1, 1, (BATCH, side, side, SIZE["channels"])).astype(np.float32)
    # Multiples of 1/64, so that each row sums to one exactly in f32 too.
    labels = rng.multinomial(64, np.full(classes, 1 / classes), size=BATCH).astype(np.float32) / 64
    assert np.all(labels.sum(axis=1) == 1)
    return parameters, images, labels


def with_bias(p, name, x):
    return x + p[f"{name}/bias"] if f"{name}/bias" in p else x


def norm(p, name, x, kind):
    centred = x - x.mean(axis=-1, keepdims=True) if kind == "layer" else x
    size = jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return with_bias(p, name, centred / size * p[f"{name}/scale"])


def project(p, name, x):
    return with_bias(p, name, jnp.einsum("...d,dhe->...he", x, p[f"{name}/kernel"]))


def mix(p, name, q, k, v):
    """Attention of q [b, q, h, e] over k and v [b, k, h, e], and the projection of its heads."""
    logits = jnp.einsum("bqhe,bkhe->bhqk", q / math.sqrt(HEAD_DIM), k)
    heads = jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(logits, axis=-1), v)
    return with_bias(p, f"{name}/out", jnp.einsum("bqhe,hed->bqd", heads, p[f"{name}/out/kernel"]))


def mlp(p, name, x):
    active = jax.nn.gelu(with_bias(p, f"{name}/in", x @ p[f"{name}/in/kernel"]), approximate=True)
    return with_bias(p, f"{name}/out", active @ p[f"{name}/out/kernel"])


def forward(case, p, images):
    """Logits [B, K] and a dictionary of named intermediates."""
    taps = {}
    patch, width = SIZE["patchSize"], SIZE["width"]
    patches = jax.lax.conv_general_dilated(
        images,
        p["patch/kernel"],
        (patch, patch),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    x = patches.reshape(len(images), -1, width) + p["patch/bias"] + p["position"]
    for i in range(SIZE["depth"]):
        x = encoder_block(case, p, f"encoder/{i}", x, taps)
    x = norm(p, "norm", x, case["norm"])
    taps["pooled"] = x.mean(axis=1) if case["pool"] == "gap" else map_pool(case, p, x, taps)
    return taps["pooled"] @ p["head/kernel"] + p["head/bias"], taps


def encoder_block(case, p, name, x, taps):
    h = norm(p, f"{name}/norm1", x, case["norm"])
    q, k, v = (project(p, f"{name}/attention/{part}", h) for part in ("query", "key", "value"))
    if case["qkNorm"] != "none":
        q = taps[f"{name}/attention/queryNorm"] = norm(
            p, f"{name}/attention/queryNorm", q, case["qkNorm"]
        )
        k = taps[f"{name}/attention/keyNorm"] = norm(
            p, f"{name}/attention/keyNorm", k, case["qkNorm"]
        )
    attention = mix(p, f"{name}/attention", q, k, v)
    if case["block"] == "parallel":
        x = x + attention + mlp(p, f"{name}/mlp", h)
    else:
        x = x + attention
        x = x + mlp(p, f"{name}/mlp", norm(p, f"{name}/norm2", x, case["norm"]))
    taps[f"{name}/attention"] = attention
    taps[f"{name}/+mlp"] = x
    return x


def map_pool(case, p, x, taps):
    heads = SIZE["heads"]
    q = project(p, "map/attention/query", p["map/probe"]) if case["mapQuery"] else p["map/probe"]
    q = jnp.broadcast_to(q.reshape(1, 1, heads, HEAD_DIM), (len(x), 1, heads, HEAD_DIM))
    k, v = (project(p, f"map/attention/{part}", x) for part in ("key", "value"))
    y = taps["map/attention"] = mix(p, "map/attention", q, k, v)
    return (y + mlp(p, "map/mlp", norm(p, "map/norm", y, case["norm"])))[:, 0]


def value_and_gradients(case, p, images, labels):
    def scalar(p, images):
        return loss_of(forward(case, p, images)[0], labels, "softmax")

    value, (by_parameter, by_image) = jax.value_and_grad(scalar, argnums=(0, 1))(p, images)
    return value, by_parameter, by_image


class Plain:
    """The same models once more, one image at a time, with loops over heads, queries and keys, and
    with the parallel block's two outer layers each as the one matrix that ViT-22B makes of them: a
    check on the code above."""

    def __init__(self, case, p):
        self.case, self.p = case, p

    def bias(self, name):
        return self.p.get(f"{name}/bias", 0.0)

    def norm(self, row, name, kind):
        middle = sum(row) / len(row) if kind == "layer" else 0.0
        squares = sum((value - middle) ** 2 for value in row)
        factor = 1 / math.sqrt(squares / len(row) + EPSILON)
        return (row - middle) * factor * self.p[f"{name}/scale"] + self.bias(name)

    def norms(self, rows, name):
        return np.stack([self.norm(row, name, self.case["norm"]) for row in rows])

    def attend(self, queries, keys, values):
        """One head: each query's mean of the values."""
        result = []
        for query in queries:
            weights = [math.exp(float(query @ key) / math.sqrt(HEAD_DIM)) for key in keys]
            total = sum(weights)
            result.append(sum(w / total * value for w, value in zip(weights, values)))
        return np.stack(result)

    def heads(self, queries_of, h, name):
        """All heads' results side by side, [n, D]."""
        results = []
        for head in range(SIZE["heads"]):
            k, v = (self.part(h, f"{name}/{part}", head) for part in ("key", "value"))
            if f"{name}/keyNorm/scale" in self.p:
                k = [self.norm(row, f"{name}/keyNorm", self.case["qkNorm"]) for row in k]
            results.append(self.attend(queries_of(head), k, v))
        return np.concatenate(results, axis=1)

    def part(self, h, name, head):
        bias = self.p[f"{name}/bias"][head] if f"{name}/bias" in self.p else 0.0
        return h @ self.p[f"{name}/kernel"][:, head] + bias

    def queries(self, h, name):
        def of(head):
            q = self.part(h, f"{name}/query", head)
            if f"{name}/queryNorm/scale" not in self.p:
                return q
            return [self.norm(row, f"{name}/queryNorm", self.case["qkNorm"]) for row in q]

        return of

    def out(self, rows, name):
        kernel = self.p[f"{name}/out/kernel"].reshape(-1, SIZE["width"])
        return rows @ kernel + self.bias(f"{name}/out")

    def active(self, h, name):
        def gelu(u):
            return 0.5 * u * (1 + math.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))

        return np.vectorize(gelu)(h @ self.p[f"{name}/in/kernel"] + self.bias(f"{name}/in"))

    def block(self, x, name):
        h = self.norms(x, f"{name}/norm1")
        attended = self.heads(self.queries(h, f"{name}/attention"), h, f"{name}/attention")
        if self.case["block"] == "serial":
            x = x + self.out(attended, f"{name}/attention")
            h = self.norms(x, f"{name}/norm2")
            return x + self.out(self.active(h, f"{name}/mlp"), f"{name}/mlp")
        joined = np.concatenate([attended, self.active(h, f"{name}/mlp")], axis=1)
        kernels = [self.p[f"{name}/{part}/out/kernel"] for part in ("attention", "mlp")]
        kernel = np.concatenate([kernel.reshape(-1, SIZE["width"]) for kernel in kernels])
        bias = self.bias(f"{name}/attention/out") + self.bias(f"{name}/mlp/out")
        return x + joined @ kernel + bias

    def pool(self, x):
        if self.case["pool"] == "gap":
            return sum(x) / len(x)
        probe = self.p["map/probe"][None]
        split = probe.reshape(SIZE["heads"], 1, HEAD_DIM)
        projected = self.queries(probe, "map/attention")
        queries_of = projected if self.case["mapQuery"] else lambda head: split[head]
        y = self.out(self.heads(queries_of, x, "map/attention"), "map/attention")
        hidden = self.active(self.norms(y, "map/norm"), "map/mlp")
        return (y + self.out(hidden, "map/mlp"))[0]

    def logits(self, image):
        patch, side = SIZE["patchSize"], SIZE["imageSize"]
        kernel = self.p["patch/kernel"].reshape(-1, SIZE["width"])
        corners = [(y, x) for y in range(0, side, patch) for x in range(0, side, patch)]
        pixels = [image[y : y + patch, x : x + patch].reshape(-1) for y, x in corners]
        x = np.stack(pixels) @ kernel + self.p["patch/bias"] + self.p["position"]
        for i in range(SIZE["depth"]):
            x = self.block(x, f"encoder/{i}")
        return self.pool(self.norms(x, "norm")) @ self.p["head/kernel"] + self.p["head/bias"]


def plain_logits(case, p, images):
    return np.stack([Plain(case, p).logits(image) for image in images])


def zero_gradients(case) -> list[str]:
    """What is added to all keys alike, right before the product with the queries."""
    names = []
    for i in range(SIZE["depth"]):
        attention = f"encoder/{i}/attention"
        if case["qkNorm"] != "none":
            names.append(f"{attention}/keyNorm/bias")
        else:
            names.append(f"{attention}/key/bias")
    names.append("map/attention/key/bias")
    return [name for name in names if name in parameter_shapes(case)]


def check_gradients(case, p, images, labels, gradients, rng) -> float:
    """Central differences along a random unit direction per parameter; returns the worst error."""
    worst = 0.0
    scale = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    for name, value in p.items():
        direction = rng.standard_normal(value.shape)
        direction /= np.linalg.norm(direction)
        step = 1e-5
        sides = [
            float(
                loss_of(
                    jnp.asarray(plain_logits(case, p | {name: value + s * direction}, images)),
                    labels,
                    "softmax",
                )
            )
            for s in (step, -step)
        ]
        difference = (sides[0] - sides[1]) / (2 * step)
        worst = max(worst, abs(difference - float((gradients[name] * direction).sum())) / scale)
    return worst


def f32_errors(case, p32, images32, labels32, gradients) -> dict[str, object]:
    """How far JAX itself lands from the golden gradients when it computes in f32."""
    _, by_parameter, _ = value_and_gradients(case, p32, images32, labels32)
    scale = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    errors = {
        n: np.linalg.norm(np.asarray(by_parameter[n], np.float64) - g) for n, g in gradients.items()
    }
    zeros = zero_gradients(case)
    own = {n: errors[n] / np.linalg.norm(g) for n, g in gradients.items() if n not in zeros}
    return {
        "worstOfOwnNorm": float(f"{max(own.values()):.2e}"),
        "worstOfOwnNormAt": max(own, key=own.get),
        "worstOfGlobalNorm": float(f"{max(errors.values()) / scale:.2e}"),
    }


def make_case(name, case, rng) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The case's tensors, each name with the case's in front, and its row of the JSON file."""
    p32, images32, labels32 = draw(case, rng)
    p = {key: value.astype(np.float64) for key, value in p32.items()}
    images, labels = images32.astype(np.float64), labels32.astype(np.float64)
    logits, taps = forward(case, p, images)
    np.testing.assert_allclose(logits, plain_logits(case, p, images), rtol=1e-12, atol=1e-13)
    value, by_parameter, by_image = value_and_gradients(case, p, images, labels)
    gradients = {key: np.asarray(g) for key, g in by_parameter.items()}
    error = check_gradients(case, p, images, labels, gradients, rng)
    assert error < 1e-9, (name, error)
    for key, g in gradients.items():
        size = np.linalg.norm(g)
        assert size < 1e-14 if key in zero_gradients(case) else size > 1e-4, (name, key, size)
    tensors = {"inputs/images": images32, "inputs/labels": labels32}
    tensors |= {f"parameters/{key}": value for key, value in p32.items()}
    tensors |= {"outputs/logits": np.asarray(logits), "outputs/loss": np.asarray(value)}
    tensors |= {f"gradients/{key}": g for key, g in gradients.items()}
    tensors |= {"input_gradients/images": np.asarray(by_image)}
    tensors |= {f"taps/{key}": np.asarray(tap) for key, tap in taps.items()}
    row = {
        "config": SIZE | case,
        "zeroGradients": zero_gradients(case),
        "loss": float(value),
        "gradientNorm": math.sqrt(sum(float((g**2).sum()) for g in gradients.values())),
        "jaxF32": f32_errors(case, p32, images32, labels32, gradients),
        "parameters": {key: list(value.shape) for key, value in p32.items()},
        "taps": {key: list(tap.shape) for key, tap in taps.items()},
    }
    return {f"{name}/{key}": value for key, value in tensors.items()}, row


def main() -> None:
    rng = np.random.default_rng(SEED)
    tensors, rows = {}, {}
    for name, case in CASES.items():
        made, rows[name] = make_case(name, case, rng)
        tensors |= made
    write_tensors("vit_parallel.safetensors", tensors)
    description = {
        "batch": BATCH,
        "cases": rows,
        "seed": SEED,
        "versions": versions(),
    }
    write_json("vit_parallel.json", description)


if __name__ == "__main__":
    main()

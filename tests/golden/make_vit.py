"""Golden values of a small ViT: logits, two losses, every parameter's gradient, every intermediate.

The model is the first ViT paper's (Dosovitskiy et al. 2021, equations 1 to 4) with the conventions
of its authors' JAX code: layer norm epsilon 1e-6, biases everywhere, queries scaled by 1/sqrt(d).
Parameters and inputs are rounded to f32 once; everything after that is f64.
"""

import math

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np

from golden_file import versions, write_json, write_tensors

SEED = 20210603
IMAGE, PATCH, CHANNELS, WIDTH, DEPTH, HIDDEN, HEADS, CLASSES, BATCH = 12, 4, 3, 16, 2, 40, 4, 7, 3
HEAD_DIM = WIDTH // HEADS
PATCHES = (IMAGE // PATCH) ** 2
EPSILON = 1e-6
LOSSES = ("softmax", "sigmoid")
GELUS = ("tanh", "erf")


def parameter_shapes() -> dict[str, tuple[tuple[int, ...], str, int]]:
    """Name -> (shape, kind, fan-in), in the order in which the parameters are drawn."""
    shapes = {
        "patch/kernel": ((PATCH, PATCH, CHANNELS, WIDTH), "kernel", PATCH * PATCH * CHANNELS),
        "patch/bias": ((WIDTH,), "bias", 0),
        "cls": ((WIDTH,), "table", 0),
        "position": ((PATCHES + 1, WIDTH), "table", 0),
    }
    for i in range(DEPTH):
        block = f"encoder/{i}"
        for norm in ("norm1", "norm2"):
            shapes[f"{block}/{norm}/scale"] = ((WIDTH,), "scale", 0)
            shapes[f"{block}/{norm}/bias"] = ((WIDTH,), "bias", 0)
        for name in ("query", "key", "value"):
            projection = f"{block}/attention/{name}"
            shapes[f"{projection}/kernel"] = ((WIDTH, HEADS, HEAD_DIM), "kernel", WIDTH)
            shapes[f"{projection}/bias"] = ((HEADS, HEAD_DIM), "bias", 0)
        shapes[f"{block}/attention/out/kernel"] = ((HEADS, HEAD_DIM, WIDTH), "kernel", WIDTH)
        shapes[f"{block}/attention/out/bias"] = ((WIDTH,), "bias", 0)
        shapes[f"{block}/mlp/in/kernel"] = ((WIDTH, HIDDEN), "kernel", WIDTH)
        shapes[f"{block}/mlp/in/bias"] = ((HIDDEN,), "bias", 0)
        shapes[f"{block}/mlp/out/kernel"] = ((HIDDEN, WIDTH), "kernel", HIDDEN)
        shapes[f"{block}/mlp/out/bias"] = ((WIDTH,), "bias", 0)
    shapes["norm/scale"] = ((WIDTH,), "scale", 0)
    shapes["norm/bias"] = ((WIDTH,), "bias", 0)
    shapes["head/kernel"] = ((WIDTH, CLASSES), "kernel", WIDTH)
    shapes["head/bias"] = ((CLASSES,), "bias", 0)
    return shapes


def draw(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Parameters, images and labels as f32. Nothing is zero or one: every gradient matters."""
    parameters = {}
    for name, (shape, kind, fan_in) in parameter_shapes().items():
        spread = {
            "kernel": 1.3 / math.sqrt(max(fan_in, 1)),
            "scale": 0.25,
            "bias": 0.2,
            "table": 0.5,
        }
        value = rng.standard_normal(shape) * spread[kind] + (1.0 if kind == "scale" else 0.0)
        parameters[name] = value.astype(np.float32)
    images = rng.uniform(-1, 1, (BATCH, IMAGE, IMAGE, CHANNELS)).astype(np.float32)
    # Multiples of 1/64, so that each row sums to one exactly in f32 too.
    labels = rng.multinomial(64, np.full(CLASSES, 1 / CLASSES), size=BATCH).astype(np.float32) / 64
    assert np.all(labels.sum(axis=1) == 1)
    return parameters, images, labels


def layer_norm(x, scale, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + EPSILON) * scale + bias


def forward(p, images, gelu):
    """Logits [B, K] and a dictionary of named intermediates."""
    taps = {}
    patches = jax.lax.conv_general_dilated(
        images,
        p["patch/kernel"],
        (PATCH, PATCH),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    taps["patch"] = patches.reshape(len(images), -1, WIDTH) + p["patch/bias"]
    cls = jnp.broadcast_to(p["cls"], (len(images), 1, WIDTH))
    x = taps["embedded"] = jnp.concatenate([cls, taps["patch"]], axis=1) + p["position"]
    for i in range(DEPTH):
        x = encoder_block(p, f"encoder/{i}", x, gelu, taps)
    taps["norm"] = layer_norm(x, p["norm/scale"], p["norm/bias"])
    taps["pooled"] = taps["norm"][:, 0]
    return taps["pooled"] @ p["head/kernel"] + p["head/bias"], taps


def encoder_block(p, name, x, gelu, taps):
    h = layer_norm(x, p[f"{name}/norm1/scale"], p[f"{name}/norm1/bias"])
    taps[f"{name}/norm1"] = h
    q, k, v = (
        jnp.einsum("bnd,dhe->bnhe", h, p[f"{name}/attention/{part}/kernel"])
        + p[f"{name}/attention/{part}/bias"]
        for part in ("query", "key", "value")
    )
    logits = jnp.einsum("bqhe,bkhe->bhqk", q / math.sqrt(HEAD_DIM), k)
    weights = jax.nn.softmax(logits, axis=-1)
    heads = jnp.einsum("bhqk,bkhe->bqhe", weights, v)
    attention = jnp.einsum("bqhe,hed->bqd", heads, p[f"{name}/attention/out/kernel"])
    attention = attention + p[f"{name}/attention/out/bias"]
    after_attention = x + attention
    h = layer_norm(after_attention, p[f"{name}/norm2/scale"], p[f"{name}/norm2/bias"])
    hidden = h @ p[f"{name}/mlp/in/kernel"] + p[f"{name}/mlp/in/bias"]
    active = jax.nn.gelu(hidden, approximate=gelu == "tanh")
    mlp = active @ p[f"{name}/mlp/out/kernel"] + p[f"{name}/mlp/out/bias"]
    output = after_attention + mlp
    taps |= {
        f"{name}/attention/query": q,
        f"{name}/attention/key": k,
        f"{name}/attention/value": v,
        f"{name}/attention/logits": logits,
        f"{name}/attention/weights": weights,
        f"{name}/attention/heads": heads,
        f"{name}/attention": attention,
        f"{name}/after_attention": after_attention,
        f"{name}/norm2": h,
        f"{name}/mlp/hidden": hidden,
        f"{name}/mlp/active": active,
        f"{name}/mlp": mlp,
        f"{name}/output": output,
    }
    return output


def loss_of(logits, labels, loss):
    if loss == "softmax":
        return -(labels * jax.nn.log_softmax(logits)).sum(axis=-1).mean()
    on, off = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return -(labels * on + (1 - labels) * off).sum(axis=-1).mean()


def value_and_gradients(p, images, labels, gelu, loss):
    def scalar(p, images):
        return loss_of(forward(p, images, gelu)[0], labels, loss)

    value, (by_parameter, by_image) = jax.value_and_grad(scalar, argnums=(0, 1))(p, images)
    return value, by_parameter, by_image


def plain_forward(p, images, gelu):
    """The same model once more, written with loops and math.erf: a check on the code above."""

    def norm(row, name):
        centred = row - sum(row) / WIDTH
        return (
            centred / math.sqrt(sum(centred**2) / WIDTH + EPSILON) * p[f"{name}/scale"]
            + p[f"{name}/bias"]
        )

    def activate(u):
        inner = math.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))
        return 0.5 * u * (1 + (inner if gelu == "tanh" else math.erf(u / math.sqrt(2))))

    kernel = p["patch/kernel"].reshape(-1, WIDTH)
    result = []
    for image in images:
        rows = [p["cls"]]
        for top in range(0, IMAGE, PATCH):
            for left in range(0, IMAGE, PATCH):
                pixels = image[top : top + PATCH, left : left + PATCH].reshape(-1)
                rows.append(pixels @ kernel + p["patch/bias"])
        x = np.stack(rows) + p["position"]
        for i in range(DEPTH):
            name = f"encoder/{i}"
            h = np.stack([norm(row, f"{name}/norm1") for row in x])
            attended = np.tile(p[f"{name}/attention/out/bias"], (len(x), 1))
            for head in range(HEADS):
                q, k, v = (
                    h @ p[f"{name}/attention/{part}/kernel"][:, head]
                    + p[f"{name}/attention/{part}/bias"][head]
                    for part in ("query", "key", "value")
                )
                e = np.exp(q @ k.T / math.sqrt(HEAD_DIM))
                attended += (
                    e / e.sum(axis=1, keepdims=True) @ v @ p[f"{name}/attention/out/kernel"][head]
                )
            x = x + attended
            h = np.stack([norm(row, f"{name}/norm2") for row in x])
            hidden = h @ p[f"{name}/mlp/in/kernel"] + p[f"{name}/mlp/in/bias"]
            x = (
                x
                + np.vectorize(activate)(hidden) @ p[f"{name}/mlp/out/kernel"]
                + p[f"{name}/mlp/out/bias"]
            )
        result.append(norm(x[0], "norm") @ p["head/kernel"] + p["head/bias"])
    return np.stack(result)


def check_gradients(p, images, labels, gelu, loss, gradients, rng) -> float:
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
                    jnp.asarray(plain_forward(p | {name: value + s * direction}, images, gelu)),
                    labels,
                    loss,
                )
            )
            for s in (step, -step)
        ]
        difference = (sides[0] - sides[1]) / (2 * step)
        worst = max(worst, abs(difference - float((gradients[name] * direction).sum())) / scale)
    return worst


def f32_errors(p32, images32, labels32, gelu, loss, gradients) -> dict[str, float]:
    """How far JAX itself lands from the golden gradients when it computes in f32."""
    _, by_parameter, _ = value_and_gradients(p32, images32, labels32, gelu, loss)
    scale = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    errors = {
        n: np.linalg.norm(np.asarray(by_parameter[n], np.float64) - g) for n, g in gradients.items()
    }
    own = {
        n: errors[n] / np.linalg.norm(g)
        for n, g in gradients.items()
        if not n.endswith("attention/key/bias")
    }
    return {
        "worstOfOwnNorm": float(f"{max(own.values()):.2e}"),
        "worstOfOwnNormAt": max(own, key=own.get),
        "worstOfGlobalNorm": float(f"{max(errors.values()) / scale:.2e}"),
    }


def main() -> None:
    rng = np.random.default_rng(SEED)
    parameters32, images32, labels32 = draw(rng)
    parameters = {name: value.astype(np.float64) for name, value in parameters32.items()}
    images, labels = images32.astype(np.float64), labels32.astype(np.float64)

    tensors = {"inputs/images": images32, "inputs/labels": labels32}
    tensors |= {f"parameters/{name}": value for name, value in parameters32.items()}
    facts = {}
    for gelu in GELUS:
        logits, taps = forward(parameters, images, gelu)
        np.testing.assert_allclose(
            logits, plain_forward(parameters, images, gelu), rtol=1e-13, atol=1e-14
        )
        tensors[f"outputs/{gelu}/logits"] = np.asarray(logits)
        tensors |= {f"taps/{gelu}/{name}": np.asarray(value) for name, value in taps.items()}
        for loss in LOSSES:
            value, by_parameter, by_image = value_and_gradients(
                parameters, images, labels, gelu, loss
            )
            gradients = {name: np.asarray(g) for name, g in by_parameter.items()}
            error = check_gradients(parameters, images, labels, gelu, loss, gradients, rng)
            assert error < 1e-9, error
            for name, g in gradients.items():
                norm = np.linalg.norm(g)
                assert norm < 1e-14 if name.endswith("key/bias") else norm > 1e-4, (name, norm)
                tensors[f"gradients/{gelu}/{loss}/{name}"] = g
            tensors[f"outputs/{gelu}/{loss}_loss"] = np.asarray(value)
            tensors[f"input_gradients/{gelu}/{loss}/images"] = np.asarray(by_image)
            facts[f"{gelu}/{loss}"] = {
                "loss": float(value),
                "gradientNorm": math.sqrt(sum(float((g**2).sum()) for g in gradients.values())),
                "jaxF32": f32_errors(parameters32, images32, labels32, gelu, loss, gradients),
            }
    write_tensors("vit_small.safetensors", tensors)
    write_json("vit_small.json", description(tensors, facts))


def description(tensors, facts) -> dict:
    return {
        "config": {
            "imageSize": IMAGE,
            "patchSize": PATCH,
            "channels": CHANNELS,
            "width": WIDTH,
            "depth": DEPTH,
            "mlpDim": HIDDEN,
            "heads": HEADS,
            "headDim": HEAD_DIM,
            "classes": CLASSES,
            "batch": BATCH,
            "normEpsilon": EPSILON,
            "pool": "cls",
        },
        "gelu": list(GELUS),
        "losses": {
            "softmax": "mean over batch of -sum_k labels log_softmax(logits)",
            "sigmoid": "mean over batch of the sum over classes of binary cross-entropy",
        },
        "parameters": {
            name.removeprefix("parameters/"): list(value.shape)
            for name, value in tensors.items()
            if name.startswith("parameters/")
        },
        "taps": {
            name.removeprefix("taps/tanh/"): list(value.shape)
            for name, value in tensors.items()
            if name.startswith("taps/tanh/")
        },
        "tolerance": {
            "zeroGradients": [f"encoder/{i}/attention/key/bias" for i in range(DEPTH)],
            "zeroGradientsWhy": "A key bias adds q.b to all logits of a query, which softmax "
            "ignores. Its exact gradient is zero and the file holds rounding noise: compare it "
            "with the norm over all parameters, not with its own.",
            "relativeToOwnNorm": 1e-5,
        },
        "results": facts,
        "seed": SEED,
        "versions": versions(),
    }


if __name__ == "__main__":
    main()

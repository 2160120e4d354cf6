"""The optimizers against PyTorch, Transformers, bitsandbytes and came-pytorch, on cases drawn at random.

    python tests/peers/optimizers.py TEST_OPTIM [SEED…]

For each seed the libraries write a reference set of the form that tests/optim/golden.cpp reads: trajectories, schedules,
clipped gradients, quantized blocks. Then TEST_OPTIM replays it. What is drawn: every option, alone and together; shapes
of any rank, and of sizes about 256 and 4,096; gradients from tiny to huge, of zeros, with empty rows, missing; groups,
schedules, clipping; bf16 where a library rounds nothing but the weights to it. Tolerances are those of the reference set.
What is not drawn: where a library's own float32 overflows or underflows, and where rounding alone is left (m or g + λp that
cancels, weights in bf16 about 0), for which the tolerances are not made. MINIMA_KEEP=DIR keeps the sets.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    import transformers
    from safetensors.torch import save_file
    from torch.optim import lr_scheduler
    from transformers.optimization import Adafactor
except ImportError:
    print("skipped: torch, transformers or safetensors is not installed for this Python (MINIMA_PYTHON names another)")
    sys.exit(0)
try:
    import bitsandbytes
    import bitsandbytes.backends.cpu.ops as bitsandbytes_cpu
except ImportError:
    bitsandbytes = None
try:
    import came_pytorch
except ImportError:
    came_pytorch = None

R = random.Random()
BLOCK = 256
SHAPES = [(), (1,), (2,), (7,), (255,), (256,), (257,), (1, 1), (1, 9), (9, 1), (1, 300), (300, 1), (13, 21), (16, 16),
          (257, 3), (3, 5, 11), (4, 1, 6), (1, 7, 1), (2, 3, 4, 5), (2, 1, 3, 1)]  # fmt: skip
LARGE = [(4095,), (4096,), (4097,), (64, 64), (63, 65), (17, 241), (2, 2048), (4096, 1), (4, 16, 65), (33, 129)]
USUAL = {"params": {"rtol": 2e-6, "atol_in_lr": 1e-4, "atol": 1e-8},
         "state": {"rtol": 5e-6, "atol": 1e-42, "signed_atol_of_max": 1e-6}}  # fmt: skip
FACTORED = {"params": {"rtol": 5e-6, "atol_in_lr": 1e-3, "atol": 1e-8},
            "state": {"rtol": 2e-5, "atol": 1e-42, "signed_atol_of_max": 2e-6}}  # fmt: skip
EIGHT_BITS = {"params": {"rtol": 1e-4, "atol_in_lr": 1e-2, "atol": 1e-7, "outlier_fraction": 0.005, "outlier_atol_in_lr": 0.5},
              "state": {"rtol": 1e-4, "atol": 1e-42, "signed_atol_of_max": 1e-6,
                        "code_mismatch_fraction": 0.005, "code_mismatch_max": 1}}  # fmt: skip
BF16 = {"params": {"bf16_ulps": 1}, "state": {"rtol": 1e-4, "atol": 1e-42, "signed_atol_of_max": 1e-4}}


def one_of(*values):
    return R.choice(values)


def spread(low, high):
    """Of any magnitude from 10^low to 10^high, with three digits."""
    return float(f"{10 ** R.uniform(low, high):.2e}")


def decay():
    return one_of(0.0, 0.01, 0.1, 0.5)


# The options of each optimizer, as its library calls them. lr is drawn by `draw`.


def sgd():
    momentum, dampening = one_of(0.0, 0.5, 0.9, 0.99), one_of(0.0, 0.0, 0.3, 1.0)
    return dict(momentum=momentum, dampening=dampening, nesterov=momentum > 0 == dampening and one_of(True, False),
                weight_decay=decay(), maximize=one_of(True, False))  # fmt: skip


def adam():
    # β₁² ≤ β₂: else m outlives √v, and where g nears 0 their quotient is rounding.
    betas = [0.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.5, 0.99], [0.9, 0.9], [0.9, 0.999], [0.95, 0.99], [0.99, 0.9999]
    return dict(betas=one_of(*betas), eps=one_of(1e-12, 1e-8, 1e-6, 1e-3), weight_decay=decay(),
                amsgrad=one_of(True, False), maximize=one_of(True, False))  # fmt: skip


def adafactor():
    relative = one_of(True, False)
    return dict(eps=[one_of(1e-30, 1e-20, 1e-8, 1e-3), one_of(0.0, 1e-3, 0.01, 0.1)], clip_threshold=one_of(0.25, 1.0, 1.5, 100.0),
                decay_rate=one_of(-0.8, -0.5, -1.0, -0.2, 0.0), beta1=one_of(None, 0.0, 0.5, 0.9, 0.99), weight_decay=decay(),
                scale_parameter=one_of(True, False), relative_step=relative, warmup_init=relative and one_of(True, False))  # fmt: skip


def adafactor_torch():
    return dict(beta2_decay=one_of(-0.8, -0.5, -1.0, -0.2, 0.0), eps=[one_of(None, 1e-10, 1e-6, 1e-3), one_of(0.0, 1e-3, 0.1)],
                d=one_of(1.0, 1.5, 3.0), weight_decay=decay(), maximize=one_of(True, False))  # fmt: skip


def came():
    return dict(betas=[one_of(0.5, 0.9, 0.95), one_of(0.9, 0.99, 0.999), one_of(0.9, 0.99, 0.9999)],
                eps=[one_of(1e-30, 1e-20, 1e-8, 1e-3), one_of(1e-16, 1e-8, 1e-3)], clip_threshold=one_of(0.25, 1.0, 1.5, 100.0),
                weight_decay=decay())  # fmt: skip


def adam8bit():
    return dict(betas=[one_of(0.0, 0.8, 0.9, 0.95), one_of(0.9, 0.99, 0.999)], eps=one_of(1e-8, 1e-6, 1e-3), weight_decay=decay())


def lion():
    return dict(betas=[one_of(0.0, 0.8, 0.9, 0.95), one_of(0.0, 0.9, 0.99)], weight_decay=decay())


# Of each: the class, the options, the exponents between which gradients and lr lie, the tolerance, how many cases.
FAMILIES = {
    "SGD": (torch.optim.SGD, sgd, (-8, 6), (-4, -1), USUAL, 16),
    "Adam": (torch.optim.Adam, adam, (-12, 12), (-5, 0), USUAL, 16),
    "AdamW": (torch.optim.AdamW, adam, (-12, 12), (-5, 0), USUAL, 16),
    "Adafactor(HF)": (Adafactor, adafactor, (-12, 12), (-4, -1.5), FACTORED, 24),
    "Adafactor(torch)": (torch.optim.Adafactor, adafactor_torch, (-9, 6), (-4, -1.5), FACTORED, 16),
}
if came_pytorch:
    FAMILIES["CAME"] = (came_pytorch.CAME, came, (-12, 12), (-5, -2), FACTORED, 16)
if bitsandbytes:
    FAMILIES["AdamW8bit"] = (bitsandbytes.optim.AdamW8bit, adam8bit, (-8, 8), (-4, -1), EIGHT_BITS, 8)
    FAMILIES["Adam8bit"] = (bitsandbytes.optim.Adam8bit, adam8bit, (-8, 8), (-4, -1), EIGHT_BITS, 4)
    FAMILIES["Lion"] = (bitsandbytes.optim.Lion8bit, lion, (-8, 8), (-4, -1), EIGHT_BITS, 4)


def nearest(x, code):
    """Codes and block maxima by the nearest number of the code; between two it is the even one, where the kernels' search ends."""
    blocks = torch.nn.functional.pad(x.flatten(), (0, -x.numel() % BLOCK)).view(-1, BLOCK)
    absmax = blocks.abs().amax(1)
    scaled = (blocks / absmax.clamp(min=1e-38)[:, None]).flatten()[: x.numel()].view(x.shape)
    middles = (code[1:] + code[:-1]) / 2
    lower = torch.bucketize(scaled, middles)
    return lower + (lower % 2) * (scaled == middles[lower.clamp(max=254)]), absmax


def quantize_exactly(x, code, absmax, codes, _):
    """In place of the 65,536 bins of bitsandbytes' CPU: what its CUDA kernels do, sign rule included."""
    found, absmax[:] = nearest(x, code)
    if code[0] < 0:
        wrong = torch.signbit(code[found]) != torch.signbit(x)
        found += torch.where(wrong, torch.where(torch.signbit(x), -1, 1), 0)
    codes.copy_(found)


class Gradients:
    """Those of one parameter: of a kind, drawn step by step."""

    def __init__(self, shape, low, high, steps, kind):
        self.shape, self.scale, self.kind = shape, 10 ** R.uniform(low, high), kind
        self.first = R.randint(1, max(1, steps // 2))  # of a missing one: a state must be there midway
        self.constant = torch.randn(shape)

    def __call__(self, t):
        if self.kind == "never" or (self.kind == "missing" and t != self.first and (t < self.first or R.random() < 0.4)):
            return None
        g = self.constant if self.kind == "constant" else torch.randn(self.shape)
        if self.kind == "zero" or (self.kind == "sometimes zero" and R.random() < 0.5):
            g = torch.zeros(self.shape)
        if self.kind == "jumping":
            g = g * 10 ** R.uniform(-2, 2)
        if self.kind == "rows" and g.dim():  # as of an embedding
            g = g * (torch.rand(self.shape[:1]) < 0.4).view(-1, *[1] * (g.dim() - 1))
        # What has one element has a sign: the tolerance of m, which may cancel, is in units of its largest.
        return (g.abs() if g.numel() == 1 else g) * self.scale


def schedule(optimizer, kind, warmup, total, lr):
    if kind == "one_cycle":
        return lr_scheduler.OneCycleLR(optimizer, lr, total_steps=total, cycle_momentum=False)
    return {"linear": lambda: transformers.get_linear_schedule_with_warmup(optimizer, warmup, total),
            "constant": lambda: transformers.get_constant_schedule_with_warmup(optimizer, warmup),
            "cosine": lambda: transformers.get_cosine_schedule_with_warmup(optimizer, warmup, total),
            "cosine_restarts": lambda: transformers.get_cosine_with_hard_restarts_schedule_with_warmup(optimizer, warmup, total),
            "polynomial": lambda: transformers.get_polynomial_decay_schedule_with_warmup(optimizer, warmup, total, lr_end=0),
            "inverse_sqrt": lambda: transformers.get_inverse_sqrt_schedule(optimizer, warmup)}[kind]()  # fmt: skip


def draw(family):
    """One case: its entry of the manifest, and its tensors."""
    library, options, (low, high), lrs, tolerance, _ = FAMILIES[family]
    hyper = options()
    coupled = family == "Adam" and hyper["weight_decay"] > 0
    if coupled:  # where λp were more than g, each error of p would come back through m
        (low, high), lrs = (-1, 3), (-5, -2)
    eight, tolerance = tolerance is EIGHT_BITS, json.loads(json.dumps(tolerance))
    bf16 = R.random() < 0.15 and (eight or family == "Adafactor(HF)")
    steps = one_of(1, 2, 5, 8, 8, 12, 30)
    if eight or bf16 or family == "CAME":  # a code that flips by rounding makes more flip; CAME's steps are up to 60 lr
        steps = min(steps, 8)
    half = (steps + 1) // 2
    top = R.uniform(0, high)
    if bf16:
        tolerance, lrs = {"params": BF16["params"], "state": {**tolerance["state"], **BF16["state"]}}, (-5, -2)
    if not hyper.get("relative_step"):
        hyper["lr"] = spread(*lrs)
    if family == "SGD":  # its step is lr·g
        hyper["lr"] = float(f"{hyper['lr'] / 10 ** max(0, top):.2e}")
        tolerance["params"]["atol_in_lr"] *= max(1, 10**top)

    shapes = [one_of(*SHAPES) for _ in range(R.randint(1, 4))]
    if eight or R.random() < 0.1:
        shapes += [one_of(*LARGE) for _ in range(2)]
    names = [f"{name}{'x'.join(map(str, shape))}" for name, shape in zip("abcdefgh", shapes)]
    dtype = torch.bfloat16 if bf16 else torch.float32
    scale = lambda: one_of(0, 1, 1, spread(-3, 1))
    weights = [torch.randn(shape) * scale() for shape in shapes]
    if bf16 or coupled:  # no weight nears 0, where one in bf16 has other bits, and g + λp other signs
        weights = [torch.copysign(1 + w.abs(), w) for w in weights]
    weights = [w.to(dtype) for w in weights]
    parameters = [torch.nn.Parameter(w.clone()) for w in weights]
    gradients = []
    for shape in shapes:
        kind = one_of("normal", "normal", "jumping", "constant", "zero", "sometimes zero", "rows", "missing",
                      "never" if R.random() < 0.2 else "normal")  # fmt: skip
        # A row of zeros beside a mean of 1e8 and more is 0/0 in the libraries' float32.
        most = min(top, 3) if kind == "rows" else top
        gradients.append(Gradients(shape, min(low, most), most, steps, kind))
    never = any(g.kind == "never" for g in gradients)

    arguments = {key: tuple(x) if isinstance(x, list) else x for key, x in hyper.items()}
    case = {"optimizer": family, "source": f"{library.__module__}.{library.__name__}", "hyperparameters": hyper,
            "shapes": dict(zip(names, shapes)), "steps": steps, "tolerance": tolerance,
            "params_saved_after": sorted({1, 2, half, steps} if steps > 8 else range(1, steps + 1)),
            "state_saved_after": [] if never else sorted({half, steps})}  # fmt: skip
    if eight:
        bitsandbytes.optim.GlobalOptimManager.get_instance().initialize()
        arguments["min_8bit_size"] = one_of(4096, 4096, 1024, 257)
        case |= dict(min_8bit_size=arguments["min_8bit_size"], blocksize=BLOCK, quantizer=one_of("cpu_lut", "exact"))
        if case["quantizer"] == "cpu_lut":  # the codes of two bins beside each other
            tolerance["state"]["code_mismatch_max"] = 8
        bitsandbytes_cpu._quant_blockwise_fp32_direct = quantize_exactly if case["quantizer"] == "exact" else LOOKED_UP
        if family != "Lion":
            case["decay_order"] = "before"
        elif case["quantizer"] == "exact":
            hyper["state"] = "block8"
    groups = parameters
    if "lr" in hyper and R.random() < 0.25 and family != "SGD":
        hyper["groups"] = [{"select": select, "lr": spread(-5, -3), "weight_decay": hyper["weight_decay"] and decay()}
                           for select in ("dim>=2", "dim<2")]  # fmt: skip    The tolerance takes their lr for 1e-3.
        groups = [{"params": [p for p in parameters if (p.dim() >= 2) == (group["select"] == "dim>=2")],
                   "lr": group["lr"], "weight_decay": group["weight_decay"]} for group in hyper["groups"]]  # fmt: skip
        groups = [group for group in groups if group["params"]]
    optimizer = library(groups, **arguments)
    if eight and R.random() < 0.3:
        forced = R.randrange(len(names))
        manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
        manager.register_parameters(optimizer.param_groups)
        manager.override_config(parameters[forced], "optim_bits", 32)
        case["force_32bit"] = [names[forced]]
    scheduler = None
    if "lr" in hyper and "groups" not in hyper and R.random() < 0.25:
        kind = one_of("linear", "constant", "cosine", "cosine_restarts", "polynomial", "inverse_sqrt", "one_cycle")
        warmup, total = 0 if kind == "one_cycle" else R.randint(0, steps), steps + R.randint(1, 5)
        scheduler = schedule(optimizer, kind, warmup, total, hyper["lr"])
        hyper["base_lr"] = hyper.pop("lr")
        hyper["schedule"] = {"kind": kind, "num_warmup_steps": warmup, "num_training_steps": total}
        if kind == "polynomial":
            hyper["schedule"]["lr_end"] = 0
    if not bf16 and R.random() < 0.25:  # the libraries round a clipped gradient to bf16
        hyper["clip"] = {one_of("max_norm", "max_norm", "clip_value"): spread(-3, 1) * 10**top}

    tensors = {f"p0.{name}": w for name, w in zip(names, weights)}
    norms, counts = [], [0] * len(names)
    for t in range(1, steps + 1):
        for i, (name, p, g) in enumerate(zip(names, parameters, gradients)):
            drawn = g(t)
            if drawn is not None and coupled:  # g + λp without cancellation, which would leave rounding alone in v
                drawn = torch.copysign(drawn, -p if hyper["maximize"] else p)
            p.grad = None if drawn is None else drawn.detach().to(dtype)
            if p.grad is not None:
                tensors[f"g.{t}.{name}"] = p.grad.clone()
                counts[i] += 1
        if "max_norm" in hyper.get("clip", {}):
            norms.append(torch.nn.utils.clip_grad_norm_(parameters, hyper["clip"]["max_norm"]))
        elif "clip" in hyper and any(p.grad is not None for p in parameters):
            torch.nn.utils.clip_grad_value_(parameters, hyper["clip"]["clip_value"])
        optimizer.step()
        if scheduler:
            scheduler.step()
        for name, p, count in zip(names, parameters, counts):
            if t in case["params_saved_after"]:
                tensors[f"p.{t}.{name}"] = p.detach().clone()
            if t in case["state_saved_after"]:
                state = {"step": count, **optimizer.state[p]}  # torch's SGD keeps no step
                for key, x in state.items():
                    if not key.startswith("qmap") and x is not None:
                        tensors[f"s.{t}.{name}.{key}"] = torch.as_tensor(x).clone()
    if norms:
        tensors["gnorm"] = torch.stack(norms)
    if hyper.get("eps") and family == "Adafactor(torch)" and hyper["eps"][0] is None:
        hyper["eps2"] = hyper.pop("eps")[1]
    for key in [key for key, x in hyper.items() if x is None]:
        del hyper[key]
    return case, tensors


def draw_schedules():
    """Learning rates of each source, past the end where it goes on."""
    result = []
    for name in ("linear_schedule_with_warmup", "constant_schedule_with_warmup", "cosine_schedule_with_warmup",
                 "cosine_with_hard_restarts_schedule_with_warmup", "polynomial_decay_schedule_with_warmup",
                 "inverse_sqrt_schedule", "cosine_with_min_lr_schedule_with_warmup", "OneCycleLR",
                 "CosineAnnealingWarmRestarts", "StepLR", "ReduceLROnPlateau") * 4:  # fmt: skip
        base, steps = spread(-5, 0), R.randint(1, 60)
        warmup = R.randint(0, steps - 1)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
        if name == "OneCycleLR":
            args = dict(max_lr=base, total_steps=steps, anneal_strategy=one_of("cos", "linear"), three_phase=one_of(True, False),
                        div_factor=one_of(25.0, 3.0, 0.5), final_div_factor=one_of(1e4, 1.0, 7.0))  # fmt: skip
            args["pct_start"] = round(R.uniform(0.01, 0.5 if args["three_phase"] else 0.99), 3)
            if math.isclose(args["pct_start"] * steps, 1):  # torch divides by zero
                continue
        elif name == "CosineAnnealingWarmRestarts":
            args = dict(T_0=R.randint(1, 20), T_mult=R.randint(1, 3), eta_min=base * one_of(0, 0.1, 0.7))
        elif name == "StepLR":
            args = dict(step_size=R.randint(1, 20), gamma=one_of(0.1, 0.5, 0.97, 1.0))
        elif name == "ReduceLROnPlateau":
            args = dict(mode=one_of("min", "max"), factor=one_of(0.1, 0.5, 0.9), patience=R.randint(0, 5),
                        threshold=one_of(1e-4, 0.01, 0.3), threshold_mode=one_of("rel", "abs"), cooldown=R.randint(0, 4),
                        min_lr=base * one_of(0, 0.1, 0.7))  # fmt: skip
        else:
            args = dict(num_warmup_steps=warmup)
            if "constant" not in name and "inverse" not in name:
                args["num_training_steps"] = steps
            if "cosine" in name:
                args["num_cycles"] = one_of(1, 2, 5) if "hard" in name else one_of(0.5, 1.0, 2.5, 0.3)
            if "min_lr" in name:
                key = one_of("min_lr", "min_lr_rate")
                args[key] = one_of(0.0, 0.1, 0.5) * (base if key == "min_lr" else 1)
            if "polynomial" in name:
                args |= dict(lr_end=base * one_of(0.0, 0.01, 0.5), power=one_of(0.5, 1.0, 2.0, 3.3))
            if "inverse" in name:
                args["timescale"] = one_of(None, R.randint(1, 50))
        torches = hasattr(lr_scheduler, name)
        make = getattr(lr_scheduler, name) if torches else getattr(transformers, "get_" + name)
        scheduler = make(optimizer, **args)
        metrics, rates = [], []
        for k in range(steps if name == "OneCycleLR" else steps + 10):
            if name == "ReduceLROnPlateau":
                metrics.append(R.choice([-1, 1, 1]) * round(R.uniform(0.5, 1) * 0.95**k, 3))
                scheduler.step(metrics[-1])
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if name != "ReduceLROnPlateau" and k + 1 < steps + 10 and not (name == "OneCycleLR" and k + 1 == steps):
                scheduler.step()
        result.append({"name": f"{name} {len(result)}", "base_lr": base, "args": args, "lr": rates,
                       "source": ("torch.optim.lr_scheduler." if torches else "transformers.get_") + name})  # fmt: skip
        if metrics:
            result[-1]["metrics"] = metrics
    return {"schedules": result}


def draw_clipped():
    cases, tensors = [], {}
    for i in range(12):
        kind, case = one_of(1.0, 2.0, "inf"), {"name": f"clip{i}", "max_norm": spread(-3, 3)}
        # torch adds hundreds of magnitudes less exactly than to 1e-6.
        shapes = [shape for shape in SHAPES + LARGE if kind != 1.0 or math.prod(shape) < 100]
        parameters = [torch.nn.Parameter(torch.zeros(one_of(*shapes))) for _ in range(3)]
        for name, p in zip("abc", parameters):
            p.grad = torch.randn(p.shape) * one_of(0, 1, spread(-8, 8))
            tensors[f"clip{i}.before.{name}"] = p.grad.clone()
        tensors[f"clip{i}.total_norm"] = torch.nn.utils.clip_grad_norm_(parameters, case["max_norm"], float(kind))
        tensors |= {f"clip{i}.after.{name}": p.grad for name, p in zip("abc", parameters)}
        cases.append(case | {"norm_type": kind})
    return {"file": "clip_grad_norm.safetensors", "rtol": 1e-6, "cases": cases}, tensors


def draw_blocks(codes):
    """Blocks through the nearest code, decoded by the library."""
    pairs, tensors = [], {}
    for i in range(12):
        name, n = one_of(*codes), one_of(1, 2, 255, 256, 257, 511, 513, 4096, 4097, R.randint(1, 2000))
        x = torch.randn(n) ** one_of(1, 3) * 10 ** R.uniform(-15, 15)
        x[torch.rand(n) > one_of(1, 0.5, 0.01)] = 0  # not −0, which the sign rule takes for a negative number
        if name == "dynamic_unsigned":
            x = x * x / x.abs().max().clamp(min=1e-30)
        if i % 3 == 0:  # halfway between two
            x = torch.cat([codes[name][-1:], (codes[name][1:] + codes[name][:-1]) / 2])
            n = x.numel()
        q, absmax = nearest(x, codes[name])
        q = q.to(torch.uint8)
        state = bitsandbytes.functional.QuantState(absmax, code=codes[name], blocksize=BLOCK, dtype=torch.float32)
        back = bitsandbytes.functional.dequantize_blockwise(q, state)
        tensors |= {f"{i}.x": x, f"{i}.absmax": absmax, f"{i}.q_exact": q, f"{i}.dq_exact": back}
        pairs.append({"name": str(i), "code": name, "blocksize": BLOCK, "n": n})
    return {"file": "quant_pairs.safetensors", "pairs": pairs}, tensors


def make_set(folder, seed):
    folder.mkdir(parents=True, exist_ok=True)
    R.seed(seed)
    torch.manual_seed(seed)
    manifest = {"seed": seed, "cases": [], "quant_pairs": {"file": "none"}}
    for family in FAMILIES:
        for i in range(FAMILIES[family][-1]):
            case, tensors = draw(family)
            name = f"{family} {i}"
            save_file(tensors, folder / f"{name}.safetensors")
            manifest["cases"].append({"name": name, "file": f"{name}.safetensors", **case})
    manifest["clip_grad_norm"], tensors = draw_clipped()
    save_file(tensors, folder / "clip_grad_norm.safetensors")
    if bitsandbytes:
        make = bitsandbytes.functional.create_dynamic_map
        codes = {"dynamic_signed": make(signed=True), "dynamic_unsigned": make(signed=False)}
        save_file(codes, folder / "quant_maps.safetensors")
        manifest["quant_pairs"], tensors = draw_blocks(codes)
        save_file(tensors, folder / "quant_pairs.safetensors")
    (folder / "lr_schedules.json").write_text(json.dumps(draw_schedules()))
    (folder / "cases.json").write_text(json.dumps(manifest, indent=1))
    return len(manifest["cases"])


def main():
    test = str(Path(sys.argv[1]).resolve())
    seeds = list(map(int, sys.argv[2:])) or [1]
    failed = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            home = Path(os.environ.get("MINIMA_KEEP", name)) / str(seed)
            cases = make_set(home / "optim", seed)
            answer = subprocess.run([test, "--test-suite=golden"], env={**os.environ, "MINIMA_REFERENCE": str(home)},
                                    capture_output=True, text=True)  # fmt: skip
        if answer.returncode != 0 or f"{cases} cases replayed" not in answer.stdout:
            print(answer.stdout + answer.stderr)
            failed.append(seed)
        else:
            print(f"seed {seed}: {cases} cases replayed alike")
    sys.exit(f"failed: seeds {failed}" if failed else 0)


if bitsandbytes:
    LOOKED_UP = bitsandbytes_cpu._quant_blockwise_fp32_direct
else:
    print("without bitsandbytes: no 8-bit cases")
if not came_pytorch:
    print("without came-pytorch: no cases of CAME")
main()

"""A training loop that can stop at any moment and go on later."""
import json
import math
import os
import signal
import time
from pathlib import Path

import torch

import config

_stop = False


def _ask_to_stop(*_):
    global _stop
    _stop = True


signal.signal(signal.SIGTERM, _ask_to_stop)
signal.signal(signal.SIGINT, _ask_to_stop)


def log(work, text):
    line = f"{time.strftime('%H:%M:%S')} {text}"
    print(line, flush=True)
    with open(Path(work) / "log", "a") as f:
        f.write(line + "\n")


def planned(work, stage):
    path = Path(work) / "schedule.json"
    own = json.loads(path.read_text()) if path.exists() else {}
    return int(own.get(stage, config.SCHEDULE[stage]))


def save_atomically(value, path):
    torch.save(value, f"{path}.part")
    os.replace(f"{path}.part", path)


class Stage:
    """One stage: parameters, optimiser, averaged weights, schedule and checkpoints.

    module: holds everything that is trained. groups: [(parameters, learning rate)].
    """

    def __init__(self, work, name, module, groups, warmup=50, floor=0.03, average=0.998):
        self.work, self.name, self.module = Path(work), name, module
        self.path = self.work / f"{name}.pt"
        self.warmup, self.floor, self.average = warmup, floor, average
        self.optimiser = torch.optim.AdamW(
            [{"params": list(p), "lr": lr, "peak": lr} for p, lr in groups],
            betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
        self.trained = [p for g in self.optimiser.param_groups for p in g["params"]]
        self.mean = [p.detach().clone() for p in self.trained]
        self.step, self.seconds, self.recent, self.saved = 0, 0.0, {}, time.monotonic()
        if self.path.exists():
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            module.load_state_dict(state["module"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
            for mean, old in zip(self.mean, state["mean"]):
                mean.copy_(old)
        torch.manual_seed(1000 + self.step)

    def save(self):
        save_atomically({
            "module": self.module.state_dict(), "optimiser": self.optimiser.state_dict(),
            "mean": self.mean, "step": self.step, "seconds": self.seconds}, self.path)
        self.saved = time.monotonic()

    def use_mean(self):
        with torch.no_grad():
            for p, mean in zip(self.trained, self.mean):
                p.copy_(mean)

    def run(self, loss_of, every=20, save_seconds=150, on_save=None):
        """loss_of(step, progress) returns the loss and numbers worth logging."""
        total = planned(self.work, self.name)
        while self.step < total:
            started = time.process_time()
            progress = self.step / total
            rate = self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
            rate *= min(1, (self.step + 1) / self.warmup)
            for g in self.optimiser.param_groups:
                g["lr"] = g["peak"] * rate
            loss, numbers = loss_of(self.step, progress)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0, foreach=True)
            self.optimiser.step()
            keep = min(self.average, (self.step + 1) / (self.step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(self.mean, self.trained, 1 - keep)
            self.step += 1
            self.seconds += time.process_time() - started
            for key, value in {"loss": loss.item(), **numbers}.items():
                old = self.recent.get(key, value)
                self.recent[key] = old + 0.05 * (value - old)
            if self.step % every == 0:
                text = " ".join(f"{k} {v:.4f}" for k, v in self.recent.items())
                log(self.work, f"{self.name} {self.step}/{total} cpu {self.seconds:.0f}s {text}")
                total = planned(self.work, self.name)
            if _stop or time.monotonic() - self.saved > save_seconds:
                self.save()
                if _stop:
                    log(self.work, f"{self.name} stopped at step {self.step}")
                    raise SystemExit(0)
        self.save()
        self.use_mean()

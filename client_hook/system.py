"""Measures the machine beside the training, in the sender thread: `system/<name>`. Needs the extra `system`.

Shares are 0 to 1, sizes bytes, rates bytes per second, temperatures °C, power W. Not for: the hook's time (governor).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from client_hook.guard import quietly

FIRST_AFTER_S = 1.0
INTERVAL_S = 10.0
MISSING = 'System metrics need psutil: pip install "gradwatch[system]".'


class SystemSampler:
    """Gives the values when their time has come; what cannot be read is left out."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        whole_host: bool | None = None,
        load: Callable[[str], Any] = import_module,
    ) -> None:
        self._monotonic = monotonic
        self._due = monotonic() + FIRST_AFTER_S
        self._load = load
        self._psutil: Any = None
        self._process: Any = None
        self._gpus: list[tuple[str, Any]] = []
        self._nvml: Any = None
        self._last: tuple[float, dict[str, float]] | None = None
        self._begun = False
        # of several processes on a host one tells of the host
        self._whole_host = os.environ.get("LOCAL_RANK", "0") == "0" if whole_host is None else whole_host
        self.problem = ""

    def poll(self) -> dict[str, float] | None:
        """Gives the values, if it is time; the first time only the counters are read that rates begin from."""
        now = self._monotonic()
        if now < self._due:
            return None
        self._due = now + INTERVAL_S
        if not self._begun:
            self._begun = True
            self._begin()
            self._due = now + FIRST_AFTER_S
            self._read(now)
            return None
        return self._read(now) or None

    def _begin(self) -> None:
        self._psutil = quietly(self._load, "psutil")
        if self._psutil is None:
            self.problem = MISSING
        else:
            self._process = quietly(self._psutil.Process)
        nvml = quietly(self._load, "pynvml")
        if nvml is not None and quietly(lambda: nvml.nvmlInit() or True):
            self._nvml = nvml
            self._gpus = _visible(nvml, os.environ)

    def _read(self, now: float) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._psutil is not None:
            self._read_process(found)
            if self._whole_host:
                self._read_host(found)
                self._add_rates(found, now)
        for name, handle in self._gpus:
            self._read_gpu(found, name, handle)
        return found

    def _read_process(self, found: dict[str, float]) -> None:
        process = self._process
        if process is None:
            return
        _put(found, "process_cpu", quietly(lambda: process.cpu_percent() / 100.0))
        _put(found, "process_memory", quietly(lambda: process.memory_info().rss))
        _put(found, "process_threads", quietly(process.num_threads))

    def _read_host(self, found: dict[str, float]) -> None:
        psutil = self._psutil
        _put(found, "cpu", quietly(lambda: psutil.cpu_percent() / 100.0))
        memory = quietly(psutil.virtual_memory)
        if memory is not None:
            _put(found, "memory", memory.total - memory.available)
            _put(found, "memory_share", (memory.total - memory.available) / memory.total)

    def _add_rates(self, found: dict[str, float], now: float) -> None:
        psutil = self._psutil
        disk, net = quietly(psutil.disk_io_counters), quietly(psutil.net_io_counters)
        counters: dict[str, float] = {}
        for counter, names in ((disk, ("read_bytes", "write_bytes")), (net, ("bytes_sent", "bytes_recv"))):
            for name in names:
                value = getattr(counter, name, None)
                if value is not None:
                    counters[_RATES[name]] = float(value)
        last, self._last = self._last, (now, counters)
        if last is not None and now > last[0]:
            for name, value in counters.items():
                if name in last[1]:
                    _put(found, name, max(value - last[1][name], 0.0) / (now - last[0]))

    def _read_gpu(self, found: dict[str, float], name: str, handle: Any) -> None:
        nvml = self._nvml
        memory = quietly(nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is not None:
            _put(found, f"{name}/memory", memory.used)
            _put(found, f"{name}/memory_share", memory.used / memory.total)
        _put(found, f"{name}/utilisation", quietly(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100.0))
        _put(found, f"{name}/temperature", quietly(nvml.nvmlDeviceGetTemperature, handle, 0))
        _put(found, f"{name}/power", quietly(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0))


_RATES = {
    "read_bytes": "disk_read",
    "write_bytes": "disk_write",
    "bytes_sent": "network_sent",
    "bytes_recv": "network_received",
}


def _put(found: dict[str, float], name: str, value: Any) -> None:
    if isinstance(value, (int, float)):
        found[f"system/{name}"] = float(value)


def _visible(nvml: Any, environ: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Lists the GPUs that CUDA shows to this process, under their numbers there."""
    count = quietly(nvml.nvmlDeviceGetCount, default=0)
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    chosen = [str(index) for index in range(count)] if wanted is None else [item.strip() for item in wanted.split(",")]
    found: list[tuple[str, Any]] = []
    for number, item in enumerate(chosen):
        if item.isdecimal():
            handle = quietly(nvml.nvmlDeviceGetHandleByIndex, int(item)) if int(item) < count else None
        else:
            handle = quietly(nvml.nvmlDeviceGetHandleByUUID, item) if item.startswith(("GPU-", "MIG-")) else None
        if handle is None:
            break  # CUDA, too, shows none after one that it does not know
        found.append((f"gpu{number}", handle))
    return found

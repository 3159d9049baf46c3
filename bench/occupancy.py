"""What a relay holds at one moment, and what of it has grown: how a leak is told from a crowd."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Final

MEMORY_ALLOWANCE_BYTES: Final = 16 << 20  # arenas of the allocator that are still half used
MEMORY_ALLOWANCE_SHARE: Final = 0.05


@dataclass(frozen=True)
class Occupancy:
    """Of the whole relay; `rows` are those given out in the tables of all workers, by table."""

    peers: int
    tracks: int
    rows: dict[str, int]
    descriptors: int
    threads: int
    resident_bytes: int

    @property
    def total_rows(self) -> int:
        """In all tables."""
        return sum(self.rows.values())


def read_occupancy(info: dict[str, Any]) -> Occupancy:
    """Read what `/api/system/info` says."""
    rows: Counter[str] = Counter()
    for worker in info["relay"]["workers"]:
        rows.update({table: int(count) for table, count in worker["rows"].items()})
    process = info["process"]
    return Occupancy(
        peers=int(info["relay"]["peers"]),
        tracks=int(info["relay"]["tracks"]),
        rows=dict(rows),
        descriptors=int(process["descriptors"]),
        threads=int(process["threads"]),
        resident_bytes=int(process["resident_bytes"]),
    )


def grown_between(before: Occupancy, after: Occupancy) -> dict[str, tuple[int, int]]:
    """Return what there is more of, with both counts. Memory may grow a little; nothing else may."""
    earlier, later = _flat(before), _flat(after)
    allowed = dict.fromkeys(later, 0)
    allowed["resident_bytes"] = memory_allowance(before.resident_bytes)
    return {
        name: (earlier.get(name, 0), count)
        for name, count in later.items()
        if count > earlier.get(name, 0) + allowed[name]
    }


def memory_allowance(resident_bytes: float) -> int:
    """How much more memory is not yet called growth."""
    return max(MEMORY_ALLOWANCE_BYTES, round(MEMORY_ALLOWANCE_SHARE * resident_bytes))


def _flat(occupancy: Occupancy) -> dict[str, int]:
    plain = asdict(occupancy)
    rows = plain.pop("rows")
    return {**plain, **{f"{table} rows": count for table, count in rows.items()}}

"""Until when an accept is of use: the part must not have reached the rejector, at the conveyor's highest speed."""

from __future__ import annotations

from collections.abc import Mapping


def accept_deadline_ms(
    rejector_distance_mm: float, accept_window_mm: float, max_speed_mm_per_s: float, actuator_ms: float
) -> float:
    """From trigger to the last moment at which an accept moves the rejector in time.

    ``rejector_distance_mm`` from trigger sensor to rejector; the rejector must stand still for ``accept_window_mm`` before the
    part is there, and takes ``actuator_ms`` to move.
    """
    return (rejector_distance_mm - accept_window_mm) / max_speed_mm_per_s * 1000 - actuator_ms


def check_deadline(deadline_ms: float, products: Mapping[str, float]) -> None:
    """ValueError, which says what to change, unless every product's ``deadline_ms`` lies within the deadline for an accept."""
    remedy = "raise plc.rejector_distance_mm, or lower plc.max_speed_mm_per_s, plc.accept_window_mm or plc.actuator_ms"
    if deadline_ms <= 0:
        raise ValueError(f"the part is at the rejector {-deadline_ms:.0f} ms before an accept could move it; {remedy}")
    for part_number, product_ms in products.items():
        if product_ms > deadline_ms:
            raise ValueError(
                f"product {part_number} may take {product_ms:g} ms for its verdict, but its parts are at the rejector after "
                f"{deadline_ms:.0f} ms; lower its deadline_ms, or {remedy}"
            )

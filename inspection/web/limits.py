"""How often somebody may ask."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass

_CLIENTS = 1_000


@dataclass
class Bucket:
    """Requests that a client may still send now; it fills by ``rate`` a second up to ``burst``."""

    left: float
    at: float

    def take(self, rate: float, burst: float) -> float:
        """Take one; the seconds to wait if there is none."""
        now = time.monotonic()
        self.left = min(burst, self.left + (now - self.at) * rate)
        self.at = now
        if self.left < 1:
            return (1 - self.left) / rate
        self.left -= 1
        return 0.0


class Limit:
    """A bucket for each of the last thousand who asked; addresses of IPv6 share that of their network."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, who: str) -> float:
        """The seconds for which ``who`` has to wait; 0 if this one request is within the limit."""
        who = _network(who)
        bucket = self._buckets.pop(who, None) or Bucket(self._burst, time.monotonic())
        self._buckets[who] = bucket
        while len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return bucket.take(self.rate, self._burst)


def _network(who: str) -> str:
    """Of an IPv6 address its 64 bits of network, since one machine may take all addresses in it; anything else as it is."""
    try:
        address = ipaddress.ip_address(who)
    except ValueError:
        return who
    if isinstance(address, ipaddress.IPv4Address):
        return who
    return str(address.ipv4_mapped or ipaddress.IPv6Address(int(address) >> 64 << 64))

"""What the command `doctor` looks at. Nothing here is billed but a transcription that somebody asks for.

finding   what was found, and what to do about it
local     the ledger, and the room on its disk
reach     name, TLS and clock of the provider, asked without a key
ways      the ways in which a provider may want to be asked, and which of them is at fault
asking    one request on the gateway's own path
"""

from app.adapters.doctor.connectivity import clock, name, tls
from app.adapters.doctor.finding import Finding
from app.adapters.doctor.local import disk_space, ledger
from app.adapters.doctor.probes import Probe, ProbeResult, diagnose, probes
from app.adapters.doctor.transcription_probe import Clip, send_probe

__all__ = [
    "Clip",
    "Finding",
    "Probe",
    "ProbeResult",
    "clock",
    "diagnose",
    "disk_space",
    "ledger",
    "name",
    "probes",
    "send_probe",
    "tls",
]

"""The checks of the command `doctor`. The provider bills none of them but the transcription, which is optional.

finding              the result of one check, and advice
local                the ledger, and free space on its disk
connectivity         the provider's DNS name, TLS and clock, without a key
probes               the variants of a transcription request, and which setting is at fault
transcription_probe  sends one variant through the gateway's own client
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

"""A synthetic fetal heart under a synthetic ultrasound probe: scans, labelled stills and exact ground truth.

One three-dimensional body a patient (`heart`, `body`), cut by a moving plane (`planes`, `sweep`), rendered as the
physics of ultrasound does it (`tissue`, `speckle`, `picture`), shown on a scanner's screen (`screen`), written in the
formats of hospitals (`dicom`, `video`, `dataset`). Nothing in it is a real person.
"""

from sonolearn_phantom.dataset import contact_sheet, generate
from sonolearn_phantom.patient import Patient
from sonolearn_phantom.picture import Probe, render
from sonolearn_phantom.planes import PLANES, Pose, label, pose, standard_planes
from sonolearn_phantom.sweep import scan_poses, still_pose
from sonolearn_phantom.tissue import Fetus

__all__ = [
    "PLANES",
    "Fetus",
    "Patient",
    "Pose",
    "Probe",
    "contact_sheet",
    "generate",
    "label",
    "pose",
    "render",
    "scan_poses",
    "standard_planes",
    "still_pose",
]

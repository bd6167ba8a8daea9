"""Fixture of the readers' tests: a writer of DICOM files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `dicoms`

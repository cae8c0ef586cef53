"""Carrying sessions: import from other formats and programs, export, copies from store to store, and the doctor."""

from turnlog.transfer.copying import copy_store as copy_store
from turnlog.transfer.doctor import Finding as Finding
from turnlog.transfer.doctor import examine as examine
from turnlog.transfer.exporting import export_sessions as export_sessions
from turnlog.transfer.formats import detect_format as detect_format
from turnlog.transfer.importing import import_path as import_path
from turnlog.transfer.report import BrokenImportError as BrokenImportError
from turnlog.transfer.report import CopyMismatchError as CopyMismatchError
from turnlog.transfer.report import Progress as Progress
from turnlog.transfer.report import Skip as Skip
from turnlog.transfer.report import TransferReport as TransferReport
from turnlog.transfer.report import UnknownFormatError as UnknownFormatError

__all__ = [
    "BrokenImportError",
    "CopyMismatchError",
    "Finding",
    "Progress",
    "Skip",
    "TransferReport",
    "UnknownFormatError",
    "copy_store",
    "detect_format",
    "examine",
    "export_sessions",
    "import_path",
]

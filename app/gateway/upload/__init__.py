"""The caller's upload, parsed while it arrives.

form               the form's fields and its file, checked
file_head          the first bytes of the file, which tell its container
meter              the length of the audio, measured while it passes
model_selection    the model that the form names
parser             all of it: an `Upload`
"""

from app.gateway.upload.parser import Upload, UploadParser

__all__ = ["Upload", "UploadParser"]

"""From a file of any medical format to arrays of pixels; one module per format.

A module builds only on those of its own line, or of one above it:

    window                               which values are black and white
    reader                               the one call that reads any file, and what all formats share
    stored, codestream                   what a file declares, held against what it can hold
    numbers, traits, gray                what a DICOM header says
    picture, arrays, nifti, dicom        the formats
    headers                              the keys of a DICOM file that is not decoded
"""

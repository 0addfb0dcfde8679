"""Generated medical pairs for method and teaching, never for clinical claims.

A phantom is the imaging field's word for a made test object. `cxr` makes frontal chest radiographs with reports, `derm`
dermatoscopic lesions with metadata; both are parametric and give the same pairs for the same seed.
"""

"""The certificate on paper, with reportlab.

In order of flow: ``lettering`` (fonts, and what they cannot show), ``layout`` (page, styles, pieces), ``samples`` (images of
rejects), ``sections`` (what the certificate says, one after the other).
"""

"""Write the committed description of the REST API: ``python -m inspection.web.openapi``."""

import json

from inspection.web.app import OPENAPI, openapi_document

if __name__ == "__main__":
    OPENAPI.write_text(json.dumps(openapi_document(), indent=2, ensure_ascii=False) + "\n")

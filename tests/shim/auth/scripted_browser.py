"""What BROWSER names in these tests: writes down the link it is given and, unless told to hold, follows it to the end.

Arguments: the file to write to, `follow` or `hold`, the link.
"""

import os
import sys
import urllib.error
import urllib.request

log, mode, link = sys.argv[1:]
with open(log, "a") as file:  # noqa: PTH123 - one write, so that fifty browsers would be seen as fifty lines
    file.write(link + "\n")
with open(log + ".env", "w") as file:  # noqa: PTH123
    file.write("\n".join(os.environ))
if mode == "follow":
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(link, timeout=30) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(error.code % 256)

"""Schemes that no client may be sent back to: they run, show or fetch something in the browser, read files, or start a
program that does not belong to the client.

Sources: RFC 9700, section 4.1; the schemes registered with IANA; what browsers and systems handle by themselves.
"""

from __future__ import annotations

# fmt: off
FORBIDDEN_SCHEMES = frozenset((
    "about", "acap", "addbook", "afp", "aim", "android-app", "appstream", "apt", "bitcoin", "blob", "brave", "callto",
    "cap", "chrome", "cid", "content", "cordova", "data", "dav", "davs", "dict", "dns", "ed2k", "edge", "facetime",
    "facetime-audio", "feed", "file", "filesystem", "finger", "firefox", "fish", "ftp", "ftps", "geo", "git",
    "gopher", "gtalk", "hcp", "help", "http", "httpi", "https", "icap", "im", "imap", "imaps", "info", "intent",
    "ipp", "ipps", "irc", "irc6", "ircs", "itms", "its", "jar", "javascript", "jdbc", "jscript", "ldap", "ldapi",
    "ldaps", "livescript", "local", "magnet", "mailto", "map", "maps", "market", "mhtml", "mid", "mk", "mms", "mmst",
    "mocha", "moz-extension", "msteams", "news", "nfs", "nntp", "opaquelocktoken", "opera", "pkcs11", "pop", "pop3",
    "prefs-root", "res", "resource", "rlogin", "rmi", "rsync", "rtmp", "rtsp", "rtsps", "safari", "search", "sftp",
    "sgn", "shell", "shortcuts", "sip", "sips", "skype", "smb", "sms", "smsto", "snap", "ssh", "steam", "stun",
    "stuns", "svn", "tag", "tel", "telnet", "tftp", "tn3270", "turn", "turns", "udp", "unix", "urn", "vbs",
    "vbscript", "view-source", "vivaldi", "vnc", "wais", "webcal", "wpid", "ws", "wss", "wyciwyg", "x-man-page",
    "xmpp", "zoommtg", "zoomus", "app-prefs", "arc", "firefox-focus", "googlechrome", "googlechromes", "h323",
    "macappstore", "macappstores", "message", "odopen", "onenote-cmd", "opera-gx", "prefs", "safari-https",
    "touch-http", "touch-https", "windowsdefender", "x-help-action", "x-safari-http", "x-safari-https",
))
# fmt: on
FORBIDDEN_BEGINNINGS = (
    "chrome-",
    "intent",
    "itms-",
    "microsoft-",
    "moz-",
    "ms-",
    "search-ms",
    "web+",
    "webcal",
    "x-apple",
)
FORBIDDEN_ENDINGS = ("script", "-extension")

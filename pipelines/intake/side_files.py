"""Files that tools leave beside their data: hidden, temporary, and markers. They are no deliveries.

The forms are conventions, not a list of tools. A name or a folder that begins with a dot or an
underscore is hidden for Spark, Hive, Delta and Hadoop, for macOS and Unix, and for what copies
files under a name of its own first.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    r"_|\.(?!\.?$)"  # .DS_Store, ._a.csv, .part-0.crc, _SUCCESS, _delta_log/, __MACOSX/
    r"|~\$"  # ~$a.xlsx, an open document of Office
    r"|~.*\.tmp$|#.*#$"  # ~WRL0001.tmp, #a.csv# of Emacs
    r"|@(?:eaDir|tmp|Recycle)$|#recycle$"  # of network drives
    r"|\$RECYCLE\.BIN$|System Volume Information$|lost\+found$",
    re.IGNORECASE,
)
_ENDING = re.compile(
    r"[./](?:"
    # A copy or a download that is still going on, and what an editor keeps.
    r"te?mp[._-]?(?:[0-9]+|[0-9a-f]{6,})|bak[0-9]*|backup|"
    r"part|partial|filepart|tmp|temp|crdownload|download|opdownload|incomplete|inprogress|"
    r"in-progress|in_progress|pending|uploading|unfinished|writing|copying|_copying_|aria2|!ut|!qb|"
    r"rclonetmp|sb-[0-9a-f]+-\w+|"
    # A lock, or a state of an editor.
    r"lock|lck|sw[a-p]|swpx|kate-swp|"
    # Checksums and signatures, of this or several files.
    r"crc|crc32c?|md5|sha-?[0-9]{1,3}|b2|b3|blake[23]\w*|xxh\w*|sfv|"
    r"(?:md5|sha-?[0-9]*|crc32c?|b2|b3)\.txt|"
    r"(?:md5|sha[0-9]*|check|b2|crc)sums?|sig|sign|asc|minisig|p7s|"
    # Marks of a finished transfer, and what describes it.
    r"done|ok|ready|complete|completed|finished|success|trigger|trg|flag|go|eof|ctl|marker|"
    r"metadata|manifest|"
    # Of Windows and its shortcuts.
    r"lnk|url|ini"
    r")$",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"thumbs\.db|ehthumbs\w*\.db|desktop\.ini|autorun\.inf|icon\r?|@eadir|"
    r"success|done|complete|ready|(?:.+[_-])?manifest(?:\.json)?|"
    r"(?:md5|sha[0-9]*|check|b2|crc)-?sums?(?:\.txt)?|[0-9a-f]{4}\.tmp",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"_\$folder\$$|~$")  # a folder of Hadoop; what editors and cp keep
# Parts of a download have random hexadecimal names; those of `split` count from 000000 or aaaaaa,
# and hold rows.
_ANYWHERE = re.compile(
    r"\.part[_.-]?(?!00)(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{6,}$"
    r"|\.[0-9a-f]{8}\.partial$"  # of rclone
    r"|\.ocTransferId[0-9]+(?:\.part)?$|\.~tmp~$"
    r"|@Syno(?:EAStream|Resource)$|:Zone\.Identifier(?::\$DATA)?$",  # streams of a file system
    re.IGNORECASE,
)


def is_side_file(path: str) -> bool:
    """Whether a path below ``landing/`` is by convention no data: the last part of it is a side
    file, or any folder in it is hidden or a tool's own.
    """
    *folders, name = path.split("/")
    if not name:  # the mark of a folder
        return True
    parts = (*folders, name)
    return any(_HIDDEN.match(part) or _FOLDER.search(part) for part in parts) or _is_side_name(name)


def _is_side_name(name: str) -> bool:
    return bool(_WHOLE.fullmatch(name) or _ANYWHERE.search(name) or _ENDING.search(f"/{name}"))

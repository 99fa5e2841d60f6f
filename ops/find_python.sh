#!/bin/sh
# Print the path of the newest suitable Python. If there is none, say what was looked for.
#
#     sh ops/find_python.sh              the newest that the project supports
#     sh ops/find_python.sh 3.12 3.11    the first of these versions
#
# PYTHON=/path/to/python names the only one to take. Each is tried by running it: a name on the path may
# be a shim of pyenv's with nothing behind it, and a Python may lack what a virtual environment needs.
set -u

# Newest first, but 3.14 last: every locked requirement has a wheel for it, and no test was run on it.
[ $# -gt 0 ] || set -- 3.13 3.12 3.11 3.14
wanted=$*
PYENV=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
CHECK='
import sys
version = "%d.%d" % sys.version_info[:2]
if version not in sys.argv[1:]:
    print("is Python " + version)
    sys.exit()
import platform, sysconfig
if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("is not the usual CPython")
    sys.exit()
for name in ("venv", "ensurepip", "bz2", "ctypes", "lzma", "sqlite3", "ssl"):
    try:
        __import__(name)
    except ImportError:
        apt = " (Debian and Ubuntu: apt install python3-venv, or python%s-venv)" % version
        print("lacks " + name + (apt if name in ("venv", "ensurepip") else ", it was built without it"))
        sys.exit()
print("fits")
'

verdict() { # on a program: "fits" if it is a suitable Python of one of these versions
  program=$1
  shift
  said=$("$program" -c "$CHECK" "$@" 2>/dev/null </dev/null) || said=
  echo "${said:-does not run}"
}

if [ -n "${PYTHON:-}" ]; then
  said=$(verdict "$PYTHON" "$@")
  [ "$said" != fits ] || { command -v "$PYTHON"; exit; }
  echo "PYTHON=$PYTHON $said. Needed is one of: $wanted. Without PYTHON=... it is looked for." >&2
  exit 1
fi

passed_over=
for version; do
  pyenvs=
  for folder in "$PYENV/$version"*/bin; do pyenvs=$folder:$pyenvs; done
  for name in "python$version" python3; do
    folders=$PATH:$pyenvs
    IFS=:
    for folder in $folders; do
      [ -x "$folder/$name" ] || continue
      said=$(verdict "$folder/$name" "$version")
      [ "$said" != fits ] || { echo "$folder/$name"; exit; }
      case " $wanted " in *" ${said#is Python } "*) continue ;; esac # its turn comes, or came
      case $passed_over in *"  $folder/$name "*) continue ;; esac
      passed_over="$passed_over
  $folder/$name $said"
    done
    unset IFS
  done
done

names=
for version; do names="${names}python$version, "; done
echo "There is no suitable Python. Looked for ${names}python3 on the path and in $PYENV.${passed_over:+ Not suitable:$passed_over}
Install Python ${wanted%% *}, or name one that is elsewhere: PYTHON=/path/to/python3" >&2
exit 1

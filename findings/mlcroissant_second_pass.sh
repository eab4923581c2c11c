#!/usr/bin/env bash
# Versions: mlcroissant 1.1.1. Date: 2026-11-29.
# Guess: `Dataset.records(name)` begins anew each time it is called, whatever the files lie in.
# Behaviour: where a file set is contained in two archives, the second pass over its records is empty, without an error, as is a second
# iteration of what the first call returned. With one archive every pass gives all records. A new Dataset reads them again.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check mlcroissant==1.1.1
cat > try.py <<'PY'
import hashlib, io, json, sys, tarfile
import mlcroissant as mlc

names = [f"{letter}.tar" for letter in "ab"[: int(sys.argv[1])]]
files = []
for name in names:
    with tarfile.open(name, "w") as tar:
        for number in "12":
            info = tarfile.TarInfo(f"{name[0]}{number}.txt")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    digest = hashlib.sha256(open(name, "rb").read()).hexdigest()
    files.append(mlc.FileObject(id=name, name=name, content_url=name, encoding_formats=["application/x-tar"], sha256=digest))
texts = mlc.FileSet(id="texts", name="texts", contained_in=names, includes=["*.txt"], encoding_formats=["text/plain"])
source = mlc.Source(file_set="texts", extract=mlc.Extract(file_property="content"))
field = mlc.Field(id="t/content", name="content", data_types=[mlc.DataType.TEXT], source=source)
records = mlc.RecordSet(id="t", name="t", fields=[field])
about = mlc.Metadata(name="d", url="https://example.org", distribution=[*files, texts], record_sets=[records])
json.dump(about.to_json(), open("croissant.json", "w"))
data = mlc.Dataset(jsonld="croissant.json")
first, second = (len(list(data.records("t"))) for _ in range(2))
again = len(list(mlc.Dataset(jsonld="croissant.json").records("t")))
print(len(names), "archives: first", first, "second", second, "new", again)
PY
for archives in 1 2; do
    CROISSANT_CACHE="$work/cache$archives" env/bin/python try.py $archives 2> log.txt || { tail -5 log.txt; exit 1; }
done | tee seen.txt
diff seen.txt - <<'END'
1 archives: first 2 second 2 new 2
2 archives: first 4 second 0 new 4
END

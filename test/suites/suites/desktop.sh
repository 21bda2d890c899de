# Large programs of the desktop that servers run without one: browsers, with and
# without their own sandbox, an office, compilers that few other programs are like.
# needs: chromium firefox-esr soffice ghc setpriv
# packages: chromium firefox-esr libreoffice-writer-nogui ghc util-linux
# format: words
# timeout: 10m
verdict() { if [ "$2" = "$3" ]; then echo "PASS $1"; else printf 'FAIL %s\n    %s\n' "$1" "$(printf %s "$2" | head -c 300)"; fi; }
page='data:text/html,<h1 id=x></h1><script>x.textContent=6*7</script>'
dom='<html><head></head><body><h1 id="x">42</h1><script>x.textContent=6*7</script></body></html>'
export HOME=$PWD/home
mkdir -p "$HOME" out
user=$(mktemp -d /tmp/desktop.XXXXXX) && chown nobody "$user"
browse() { timeout -k 2 100 "$@" chromium --headless=new --disable-gpu --user-data-dir="$dir" $flags --dump-dom "$page" 2>/dev/null; }
dir=$HOME/c flags=--no-sandbox
verdict chromium "$(browse)" "$dom"
dir=$user/c flags=
verdict chromium-sandboxed "$(browse setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$user" TMPDIR="$user")" "$dom"
timeout -k 2 100 firefox-esr --headless --no-remote --profile "$(mktemp -d -p .)" --screenshot "$PWD/out/f.png" "$page" >/dev/null 2>&1
rm -rf "$user"
verdict firefox "$(head -c 4 out/f.png | tail -c 3)" PNG
printf 'hello\nworld\n' >d.txt
timeout -k 2 100 soffice --headless --convert-to pdf --outdir out d.txt >/dev/null 2>&1
verdict office "$(head -c 5 out/d.pdf)" %PDF-
echo 'main = print (sum [1..1000])' >a.hs
verdict ghc "$(ghc -v0 a.hs && ./a)" 500500

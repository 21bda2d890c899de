# needs: git
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2001-02-03T04:05:06Z' GIT_COMMITTER_DATE='2001-02-03T04:05:06Z'
d=$(mktemp -d); cd "$d" || exit
export HOME=$d
git init -q -b main r; echo "init $?"; cd r || exit
for i in 1 2 3; do echo "$i" >"f$i"; git add .; git commit -qm "commit $i"; done
git log --oneline; git log --format='%H %s %an %ad'
git checkout -qb side HEAD~1; echo side >s; git add s; git commit -qm side
git checkout -q main; git merge -q --no-edit side; echo "merge $?"
git status --short; git ls-files; git diff --stat HEAD~1
git mv f1 g1; git stash -q; git stash pop -q; git status --short; git commit -qm moved
git fsck; git gc -q; git count-objects | cut -d, -f1
git clone -q . ../clone; git -C ../clone log --oneline | wc -l
cp -r /usr/share/common-licenses . ; git add -A; git commit -qm many; git rev-parse HEAD^{tree}
git grep -c GNU | sort | cksum; git archive HEAD | tar -t | wc -l
cd / && rm -rf "$d"

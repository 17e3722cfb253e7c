"""`faas image`: what strangers packed, into the store and nowhere else."""
import fcntl
import gzip
import io
import json
import os
import pathlib
import signal
import stat
import subprocess
import tarfile
import tempfile
import time

import pytest

from conftest import BIN, ROOT
from image_files import Layout, canonical_id, config_of, digest, entry, hardlink, saved, tar
from support import wait_until

OWNER = 0x70000000  # IMAGE_OWNER_BASE
EXAMPLES = ROOT / "build/examples"
is_root = os.geteuid() == 0


class Store:
    def __init__(self, folder, user=None):
        self.data, self.user = folder / "data", user
        self.path = self.data / "images"

    def start(self, *args, **env):
        return subprocess.Popen([BIN / "faas", "image", *map(str, args), "--data", self.data], env={**os.environ, **env}, user=self.user, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *args, **env):
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def do(self, *args, **env):
        """Runs it, it succeeds, and the JSON it printed."""
        done = self.run(*args, "--json", **env)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def refuses(self, *args, status=2, **env):
        """It fails with that status; its message."""
        done = self.run(*args, "--json", **env)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert self.leftovers() == []
        return json.loads(done.stderr.splitlines()[-1])["error"]["detail"]

    def leftovers(self):
        """Folders of imports that did not clean up after themselves."""
        return [p.name for p in (self.path / "tmp").iterdir()] if self.path.exists() else []

    def layer(self, data):
        return self.path / "layers/sha256" / digest(data)[7:] / "rootfs"

    def layers(self):
        return sorted(p.name for p in (self.path / "layers/sha256").iterdir())

    def ids(self):
        return sorted(image["id"] for image in self.do("list"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def outside(tmp_path):
    """A folder beside the store that nothing may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


@pytest.fixture
def own():
    """A folder that other users can reach: pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="faas-e2e-image-") as folder:
        yield pathlib.Path(folder)


def unread(path):
    """What lstat() tells, without the time of reading, which this very snapshot may change."""
    found = os.lstat(path)
    return found.st_mode, found.st_ino, found.st_nlink, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def snapshot(folder):
    return {str(p): (unread(p), p.read_bytes() if p.is_file() else None) for p in [folder, *sorted(folder.rglob("*"))] if p != folder} | {
        "": (os.lstat(folder).st_mtime_ns, os.lstat(folder).st_mode)}


def take(store, tmp_path, *entries, **config):
    """Imports an image of one such layer; the folder it was unpacked to."""
    layer = tar(*entries)
    store.do("import", saved(tmp_path / "image.tar", layer, **config))
    return store.layer(layer)


def refuse(store, tmp_path, *entries, **env):
    """An image of one such layer is refused; why."""
    why = store.refuses("import", saved(tmp_path / "image.tar", tar(*entries)), **env)
    assert store.ids() == [] and store.layers() == []
    return why


# ---- good images ----

@pytest.mark.parametrize("name", ["echo", "report"])
def test_archives_of_docker_save_come_in(store, name):
    archive = EXAMPLES / f"{name}.tar"
    made = store.do("import", archive)
    with tarfile.open(archive) as saved_tar:
        manifest = json.load(saved_tar.extractfile("manifest.json"))[0]
        config = json.load(saved_tar.extractfile(manifest["Config"]))
        layers = config["rootfs"]["diff_ids"]
        assert [i["id"] for i in made] == [canonical_id(layers, config["config"])]
        assert made[0]["references"] == [f"docker.io/faas-examples/{name}:latest"]
        for diff_id, path in zip(layers, manifest["Layers"]):
            same_as_tar(store.path / "layers/sha256" / diff_id[7:] / "rootfs", saved_tar.extractfile(path))
    shown = store.do("inspect", f"faas-examples/{name}")
    assert shown["layers"] == layers and shown["config"]["entrypoint"] == config["config"]["Entrypoint"]
    assert store.leftovers() == []


def same_as_tar(root, file):
    """Everything of the tar is below root with its contents, mode and owner, and nothing else."""
    expected = set()
    with tarfile.open(fileobj=file) as layer:
        for member in layer:
            path = root / member.name.removeprefix("./").rstrip("/")
            if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
                continue
            found = os.lstat(path)
            expected.add(path)
            if is_root:
                assert (found.st_uid, found.st_gid) == (OWNER + member.uid, OWNER + member.gid), member.name
            if member.isreg():
                assert path.read_bytes() == layer.extractfile(member).read() and stat.S_IMODE(found.st_mode) == member.mode & 0o777, member.name
            if member.issym():
                assert os.readlink(path) == member.linkname
            if member.islnk():
                assert os.path.samefile(path, root / member.linkname)
    assert set(root.rglob("*")) <= expected


@pytest.mark.parametrize("suffix,pack", [("gz", ["gzip", "-c"]), ("zst", ["zstd", "-qc"])])
def test_archives_and_layers_may_be_compressed(store, tmp_path, suffix, pack):
    layer = tar(entry("a", b"x" * 100000))
    packed = subprocess.run(pack, input=layer, capture_output=True, check=True).stdout
    archive = saved(tmp_path / "image.tar", layer, blobs=[packed])
    subprocess.run([*pack, archive], stdout=open(tmp_path / f"image.tar.{suffix}", "wb"), check=True)
    made = store.do("import", tmp_path / f"image.tar.{suffix}")
    assert made[0]["bytes"] == 100000 and (store.layer(layer) / "a").read_bytes() == b"x" * 100000


def test_oci_layouts_come_in_as_folder_and_as_archive(store, tmp_path):
    layer = tar(entry("a", b"1"))
    layout = Layout(tmp_path / "oci")
    image = layout.image(layer, blobs=[gzip.compress(layer)], layer_type="application/vnd.oci.image.layer.v1.tar+gzip", Entrypoint=["/a"])
    image["annotations"] = {"io.containerd.image.name": "example.org/made:1"}
    folder = layout.write(image)
    first = store.do("import", folder)
    assert first[0]["references"] == ["example.org/made:1"] and first[0]["id"] == canonical_id([digest(layer)], {"Entrypoint": ["/a"]})
    with tarfile.open(tmp_path / "oci.tar", "w") as archive:
        archive.add(folder, ".")
    assert store.do("import", tmp_path / "oci.tar", "--tag", "again")[0]["id"] == first[0]["id"]
    assert sorted(store.do("inspect", "again")["references"]) == ["docker.io/library/again:latest", "example.org/made:1"]


def test_an_index_gives_the_image_of_this_machine(store, tmp_path):
    ours, theirs = tar(entry("ours", b"1")), tar(entry("theirs", b"2"))
    layout = Layout(tmp_path / "oci")
    attestation = layout.image(theirs) | {"platform": {"os": "unknown", "architecture": "unknown"}}
    index = layout.index(layout.image(theirs, architecture="vax"), attestation, layout.image(ours), layout.image(ours, Cmd=["/second"]))
    made = store.do("import", layout.write(index), "--tag", "multi")
    assert [i["id"] for i in made] == [canonical_id([digest(ours)], {"Cmd": ["/a"]})]
    assert store.layers() == [digest(ours)[7:]]


def test_an_image_for_other_machines_is_refused_with_what_there_is(store, tmp_path):
    layout = Layout(tmp_path / "oci")
    layer = tar(entry("a", b"1"))
    layout.write(layout.index(layout.image(layer, architecture="vax"), layout.image(layer, architecture="pdp11")))
    assert 'it has ["linux/vax","linux/pdp11"]' in store.refuses("import", tmp_path / "oci")
    assert "the image is for linux/vax" in store.refuses("import", saved(tmp_path / "i.tar", layer, architecture="vax"))


def test_images_share_layers_and_several_come_in_one_archive(store, tmp_path):
    base, top = tar(entry("base", b"1")), tar(entry("top", b"2"))
    store.do("import", saved(tmp_path / "one.tar", base, tags=["one:latest"]))
    inode = os.stat(store.layer(base) / "base").st_ino
    store.do("import", saved(tmp_path / "two.tar", base, top, base, tags=["two:latest", "deux:1"]))
    assert os.stat(store.layer(base) / "base").st_ino == inode and len(store.layers()) == 2
    assert sorted(store.do("inspect", "deux:1")["references"]) == ["docker.io/library/deux:1", "docker.io/library/two:latest"]


@pytest.mark.skipif(not is_root, reason="mounts")
def test_overlayfs_shows_what_the_layers_mean(store, tmp_path):
    lower = tar(entry("gone", b"1"), entry("d/"), entry("d/old", b"1"), entry("kept/"), entry("kept/a", b"1"), entry("again/"), entry("again/old", b"1"),
                entry("swap/"), entry("swap/old", b"1"), entry("replaced", b"file"))
    upper = tar(entry(".wh.gone"), entry("d/"), entry("d/.wh..wh..opq"), entry("d/new", b"2"), entry("kept/b", b"2"), entry(".wh.again"), entry("again/"),
                entry("again/new", b"2"), entry("swap/"), entry("swap/new", b"2"), entry(".wh.swap"), entry("replaced/"), entry("replaced/x", b"2"),
                entry(".wh..wh.plnk", b""), entry(".wh.never"))
    store.do("import", saved(tmp_path / "image.tar", lower, upper))
    (tmp_path / "merged").mkdir()
    script = f'mount -t overlay overlay -o ro,lowerdir={store.layer(upper)}:{store.layer(lower)} {tmp_path}/merged && cd {tmp_path}/merged && find . | sort'
    # mount(2) takes paths of any length; what newer versions of mount(8) call instead, 255 bytes.
    shown = subprocess.run(["unshare", "-m", "sh", "-c", script], text=True, capture_output=True, env={**os.environ, "LIBMOUNT_FORCE_MOUNT2": "always"})
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == sorted([".", "./again", "./again/new", "./d", "./d/new", "./kept", "./kept/a", "./kept/b", "./replaced", "./replaced/x",
                                           "./swap", "./swap/new"])
    hidden = os.lstat(store.layer(upper) / "gone")
    assert stat.S_ISCHR(hidden.st_mode) and hidden.st_rdev == 0
    assert os.getxattr(store.layer(upper) / "d", "trusted.overlay.opaque") == b"y"


@pytest.mark.skipif(not is_root, reason="becomes another user")
def test_another_user_than_root_has_a_store_of_their_own(own):
    own.chmod(0o755)
    (own / "data").mkdir()
    os.chown(own / "data", 4321, 4321)
    store = Store(own, user=4321)
    layer = tar(entry("d/", uid=0), entry("d/.wh..wh..opq"), entry("d/a", b"1", uid=1000, mode=0o4755), entry(".wh.x"))
    store.do("import", saved(own / "image.tar", layer))
    found = os.stat(store.layer(layer) / "d/a")
    assert found.st_uid == 4321 and stat.S_IMODE(found.st_mode) == 0o755
    assert os.getxattr(store.layer(layer) / "d", "user.overlay.opaque") == b"y"


# ---- hostile layers ----

def test_a_link_out_of_the_image_is_made_but_not_followed(store, tmp_path, outside):
    way_up = "../" * 40 + str(outside).lstrip("/")
    for i, target in enumerate([str(outside), way_up, "/", "/proc/self/root" + str(outside), "/proc/self/cwd/.."]):
        why = refuse(store, tmp_path, entry("x", link=target), entry("x/secret", b"bad"))
        assert "entry x/secret: its folder: " in why, (i, why)
    root = take(store, tmp_path, entry("x", link=str(outside)), entry("y", link=way_up))
    assert os.readlink(root / "x") == str(outside)


def test_links_through_links_lead_nowhere_else(store, tmp_path, outside):
    up = "../" * 40 + str(outside).lstrip("/")
    assert "its folder" in refuse(store, tmp_path, entry("a/"), entry("a/b", link="../c"), entry("c", link=up), entry("a/b/secret", b"bad"))
    assert "its folder" in refuse(store, tmp_path, entry("loop", link="loop"), entry("loop/x", b"bad"))
    root = take(store, tmp_path, entry("usr/lib/"), entry("lib", link="usr/lib"), entry("lib/a.so", b"inside"))
    assert (root / "usr/lib/a.so").read_bytes() == b"inside"


def test_a_hard_link_reaches_files_of_its_image_alone(store, tmp_path, outside):
    for target in [str(outside / "secret"), "../" * 40 + str(outside / "secret").lstrip("/"), "/etc/passwd", "missing", "d"]:
        refuse(store, tmp_path, entry("d/"), hardlink("x", target))
    why = refuse(store, tmp_path, entry("l", link=str(outside)), hardlink("x", "l/secret"))
    assert "a link leads out of the image" in why
    root = take(store, tmp_path, entry("a", b"1"), hardlink("x", "/a"))
    assert os.path.samefile(root / "a", root / "x")


def test_names_with_dots_are_refused_and_absolute_ones_stay_inside(store, tmp_path, outside):
    for name in ["../x", "a/../../x", "..", "a/..", "./../x"]:
        assert "must not hold .." in refuse(store, tmp_path, entry(name, b"bad"))
    root = take(store, tmp_path, entry(str(outside / "secret"), b"inside"), entry("./././b", b"2"), entry("//c", b"3"))
    assert (root / str(outside / "secret").lstrip("/")).read_bytes() == b"inside"
    assert (root / "b").read_bytes() == b"2" and (root / "c").read_bytes() == b"3"


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_names_are_bytes_in_any_encoding(store, tmp_path, format):
    """Nothing is converted: a table of characters would be looked for in the layer itself."""
    names = ["gr\u00fcn/" + "\u00fc" * 80, "\u65e5\u672c/\u8a9e"] + ([] if format == tarfile.PAX_FORMAT else [os.fsdecode(b"gr\xfcn/" * 30 + b"x")])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    store.do("import", saved(tmp_path / "image.tar", out.getvalue()))
    assert all((store.layer(out.getvalue()) / name).is_file() for name in names)


def test_devices_pipes_and_sockets_are_left_out(store, tmp_path):
    layer = tar(entry("null", type=tarfile.CHRTYPE), entry("sda", type=tarfile.BLKTYPE), entry("pipe", type=tarfile.FIFOTYPE), entry("a", b"1"))
    made = store.do("import", saved(tmp_path / "image.tar", layer))
    assert made[0]["left_out"] == 3 and [p.name for p in store.layer(layer).iterdir()] == ["a"]


def test_set_id_bits_are_dropped_and_owners_stay_in_their_range(store, tmp_path):
    root = take(store, tmp_path, entry("su", b"1", mode=0o6755), entry("far", b"1", uid=70000, gid=2**31), entry("t/", mode=0o7777), entry("app", b"1", uid=1000, gid=50))
    assert stat.S_IMODE(os.stat(root / "su").st_mode) == 0o755 and stat.S_IMODE(os.stat(root / "t").st_mode) == 0o1777
    if is_root:
        assert os.stat(root / "far").st_uid == os.stat(root / "far").st_gid == OWNER + 65534
        assert (os.stat(root / "app").st_uid, os.stat(root / "app").st_gid) == (OWNER + 1000, OWNER + 50)


def test_later_entries_replace_earlier_ones(store, tmp_path, outside):
    root = take(store, tmp_path, entry("f", b"1"), entry("f", b"22"), entry("d/"), entry("d/in", b"1"), entry("d", b"file"), entry("g", b"1"), entry("g/"),
                entry("g/x", b"1"), entry("l", link=str(outside)), entry("l/"), entry("l/secret", b"inside"), entry("m", link=str(outside / "secret")),
                entry("m", b"inside"))
    assert (root / "f").read_bytes() == b"22" and (root / "d").read_bytes() == b"file" and (root / "g/x").read_bytes() == b"1"
    assert not (root / "l").is_symlink() and (root / "l/secret").read_bytes() == b"inside"
    assert not (root / "m").is_symlink() and (root / "m").read_bytes() == b"inside"
    assert "its folder" in refuse_beside(store, tmp_path, entry("e/"), entry("e", link=str(outside)), entry("e/secret", b"bad"))


def refuse_beside(store, tmp_path, *entries):
    return store.refuses("import", saved(tmp_path / "bad.tar", tar(*entries)))


def test_whiteouts_name_something(store, tmp_path):
    for name in [".wh.", ".wh..", ".wh...", "a/.wh."]:
        assert "a whiteout must name what it hides" in refuse(store, tmp_path, entry(name))
    assert "must be a folder" in refuse(store, tmp_path, entry(".", link="/etc"))


def test_bombs_are_stopped_with_the_setting_that_would_allow_them(store, tmp_path):
    zeros = tar(entry("zeros", bytes(64 * 1024 * 1024)))
    archive = saved(tmp_path / "image.tar", zeros, blobs=[gzip.compress(zeros)])
    assert archive.stat().st_size < 1024 * 1024
    assert "(IMAGE_MAX_MB)" in store.refuses("import", archive, IMAGE_MAX_MB="8")
    assert store.layers() == []
    many = [entry(f"f{i}", b"") for i in range(11)]
    assert "more than 10 entries (IMAGE_MAX_ENTRIES)" in refuse(store, tmp_path, *many, IMAGE_MAX_ENTRIES="10")
    assert "deeper than 5 folders (IMAGE_MAX_DEPTH)" in refuse(store, tmp_path, entry("a/b/c/d/e/f", b""), IMAGE_MAX_DEPTH="5")
    assert "longer than 100 bytes (IMAGE_MAX_NAME)" in refuse(store, tmp_path, entry("a" * 101, b""), IMAGE_MAX_NAME="100")
    hole = entry("hole", b"x", pax={"GNU.sparse.size": str(10**13), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,1"})
    assert "(IMAGE_MAX_MB)" in refuse(store, tmp_path, hole)
    two = [tar(entry(f"a{i}", bytes(5 * 1024 * 1024))) for i in range(2)]
    assert "IMAGE_MAX_MB" in store.refuses("import", saved(tmp_path / "two.tar", *two), IMAGE_MAX_MB="8")
    assert "more than 1 (IMAGE_MAX_LAYERS)" in store.refuses("import", saved(tmp_path / "two.tar", *two), IMAGE_MAX_LAYERS="1")


def test_a_layer_must_be_what_the_image_says(store, tmp_path):
    good, evil = tar(entry("a", b"good")), tar(entry("a", b"evil"))
    why = store.refuses("import", saved(tmp_path / "image.tar", good, blobs=[evil]))
    assert digest(good) in why and digest(evil) in why and store.layers() == []
    why = store.refuses("import", saved(tmp_path / "image.tar", good, blobs=[gzip.compress(evil)]))
    assert "its contents have the digest" in why
    damaged = bytearray(gzip.compress(os.urandom(100000) + good))
    damaged[50000] ^= 0xFF
    why = store.refuses("import", saved(tmp_path / "image.tar", good, blobs=[bytes(damaged)]))
    assert store.layers() == [], why


def test_hidden_bytes_after_the_end_count(store, tmp_path):
    """What follows the end of a tar is part of its digest, and not of what is unpacked."""
    layer = tar(entry("a", b"1"))
    longer = layer + tar(entry("b", b"2"))
    store.do("import", saved(tmp_path / "image.tar", longer))
    assert "its contents have the digest" in store.refuses("import", saved(tmp_path / "bad.tar", layer, blobs=[longer]))


@pytest.mark.parametrize("folders", [["dev"], ["proc"], ["sys"], ["tmp"], ["etc"], ["dev", "proc", "sys", "tmp", "etc", "bin"]])
def test_system_folders_may_be_links_and_nothing_follows_them(store, tmp_path, outside, folders):
    root = take(store, tmp_path, *(entry(name, link=str(outside)) for name in folders))
    assert sorted(p.name for p in root.iterdir()) == sorted(folders)


# ---- hostile documents ----

def test_volumes_are_folders_or_nothing_in_the_layers(store, tmp_path):
    """A path that no layer has, or that is a folder in the highest that has it; what hides or links it is refused."""
    base = tar(entry("srv/"), entry("srv/data/"), entry("srv/data/old", b"1"), entry("link", link="srv"), entry("file", b"1"), entry("swap", link="/etc"))
    good = [[base], [base, tar(entry("srv/data/new", b"2"))], [base, tar(entry("srv/.wh.data"), entry("srv/data/"))], [base, tar(entry("swap/"))]]
    for i, layers in enumerate(good):
        made = store.do("import", saved(tmp_path / "image.tar", *layers, tags=[f"good:{i}"], Cmd=["/a"], Volumes={"/srv/data": {}, "/none/of/it": {}}))
        assert made[0]["id"] == canonical_id([digest(layer) for layer in layers], {"Cmd": ["/a"], "Volumes": {"/srv/data": {}, "/none/of/it": {}}})
        assert store.do("inspect", f"good:{i}")["config"]["volumes"] == ["/none/of/it", "/srv/data"]
    bad = {"/link": "a link", "/link/data": "a link", "/file/x": "a link or a file", "/swap/x": "a link", "/srv/data/old": "a link or a file"}
    for path, why in bad.items():
        assert why in store.refuses("import", saved(tmp_path / "image.tar", base, Cmd=["/a"], Volumes={path: {}})), path
    for over in [tar(entry("srv/.wh.data")), tar(entry(".wh.srv")), tar(entry("srv/"), entry("srv/.wh..wh..opq")), tar(entry(".wh..wh..opq"))]:
        assert "removed it" in store.refuses("import", saved(tmp_path / "image.tar", base, over, Cmd=["/a"], Volumes={"/srv/data": {}}))
    store.do("import", saved(tmp_path / "image.tar", base, tar(entry("swap/"), entry("swap/x/")), tags=["over:1"], Cmd=["/a"], Volumes={"/swap/x": {}}))
    many = {f"/v{i}": {} for i in range(17)}
    assert "more than 16 VOLUME paths" in store.refuses("import", saved(tmp_path / "image.tar", base, Cmd=["/a"], Volumes=many))


def test_users_come_from_the_images_own_files(store, tmp_path, outside):
    passwd = b"root:x:0:0::/:\napp:x:1000:1001::/:\n"
    base = [entry("etc/"), entry("etc/passwd", passwd), entry("etc/group", b"staff:x:50:\n")]
    take(store, tmp_path, *base, User="app:staff", tags=["a:1"])
    shown = store.do("inspect", "a:1")
    assert (shown["uid"], shown["gid"], shown["config"]["user"]) == (1000, 50, "app:staff")
    for user, uid, gid in [("app", 1000, 1001), ("", 65534, 65534), ("root", 65534, 65534), ("0:0", 65534, 65534), ("77", 77, 65534)]:
        take(store, tmp_path, *base, User=user, tags=["b:1"])
        shown = store.do("inspect", "b:1")
        assert (shown["uid"], shown["gid"]) == (uid, gid), user
    for user in ["4294967296", "65536", "-1", "daemon", "app:nogroup", "app:", ":", "a:b:c", "../x", "app\n", "a" * 300]:
        store.refuses("import", saved(tmp_path / "bad.tar", tar(*base), User=user))
    (pathlib.Path(tmp_path / "passwd")).write_bytes(passwd)
    for hidden in [[entry("etc", link=str(tmp_path))], [entry("etc/"), entry("etc/passwd", link=str(tmp_path / "passwd"))]]:
        assert "is not in its /etc/passwd" in store.refuses("import", saved(tmp_path / "bad.tar", tar(*hidden), User="app"))
    for top in [tar(entry("etc/.wh.passwd")), tar(entry(".wh.etc")), tar(entry("etc/"), entry("etc/.wh..wh..opq"))]:
        assert "is not in its /etc/passwd" in store.refuses("import", saved(tmp_path / "bad.tar", tar(*base), top, User="app"))


@pytest.mark.parametrize("config", [
    {"Env": ["A=1", "B"]}, {"Env": [1]}, {"Env": {"A": "1"}}, {"Env": ["A\n=1"]}, {"Cmd": "sh"}, {"Entrypoint": [""]}, {"Entrypoint": [["a"]]},
    {"WorkingDir": 1}, {"WorkingDir": "/a\nb"}, {"WorkingDir": "/" + "a" * 5000}, {"User": {"uid": 0}}, {"Cmd": ["x" * 131072]}, {"Cmd": ["x"] * 1025},
    {"Cmd": ["a\0b"]}])
def test_odd_configurations_are_refused(store, tmp_path, config):
    why = store.refuses("import", saved(tmp_path / "image.tar", tar(entry("a", b"1")), **config))
    assert why.startswith("image: ") or "not JSON" in why, why
    assert store.ids() == []


@pytest.mark.parametrize("manifest", [
    {"Config": "../../../../../../../../etc/passwd"}, {"Config": "/etc/passwd"}, {"Config": "missing"}, {"Config": 1}, {"Config": "layer0"},
    {"Layers": ["/etc/passwd"]}, {"Layers": ["../../../../etc/passwd"]}, {"Layers": []}, {"Layers": "x"}, {"Layers": [1]},
    {"RepoTags": ["../x"]}, {"RepoTags": ["UPPER"]}, {"RepoTags": ["a:b\n"]}, {"RepoTags": 1}])
def test_odd_manifests_are_refused(store, tmp_path, manifest):
    store.refuses("import", saved(tmp_path / "image.tar", tar(entry("a", b"1")), manifest=manifest))
    assert store.ids() == []


def test_an_archives_links_lead_nowhere_else(store, tmp_path, outside):
    layer = tar(entry("a", b"1"))
    (tmp_path / "config").write_text(json.dumps(config_of([layer])))
    manifest = json.dumps([{"Config": "c", "RepoTags": ["x:1"], "Layers": ["l"]}]).encode()
    parts = [entry("manifest.json", manifest), entry("l", layer)]
    (tmp_path / "image.tar").write_bytes(tar(*parts, entry("c", link=str(tmp_path / "config"))))
    assert "outside it" in store.refuses("import", tmp_path / "image.tar")
    (tmp_path / "image.tar").write_bytes(tar(*parts, entry("c", link="real"), entry("real", (tmp_path / "config").read_bytes())))
    store.do("import", tmp_path / "image.tar")  # as old archives have them, when one layer is there twice


def test_oci_documents_are_what_their_digests_say(store, tmp_path):
    layer = tar(entry("a", b"1"))
    layout = Layout(tmp_path / "oci")
    image = layout.image(layer)
    layout.write(image)
    blob = tmp_path / "oci/blobs/sha256" / image["digest"][7:]
    blob.write_bytes(blob.read_bytes() + b" ")
    assert "it is damaged" in store.refuses("import", tmp_path / "oci")
    layout.write({**image, "digest": "sha256:../../../../etc/passwd"})
    assert "expected sha256:" in store.refuses("import", tmp_path / "oci")
    layout.write({**image, "digest": "md5:" + "0" * 32})
    assert "expected sha256:" in store.refuses("import", tmp_path / "oci")


def test_nothing_is_fetched_and_nothing_nests_without_end(store, tmp_path):
    layer = tar(entry("a", b"1"))
    layout = Layout(tmp_path / "oci")
    layout.write(layout.image(layer, layer_more={"urls": ["http://127.0.0.1:1/layer"]}))
    assert "in the image itself" in store.refuses("import", tmp_path / "oci")
    layout.write(layout.image(layer, layer_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"))
    assert "in the image itself" in store.refuses("import", tmp_path / "oci")
    index = layout.index(layout.image(layer))
    for _ in range(4):
        index = layout.index(index)
    layout.write(index)
    assert "nested more than 4 deep" in store.refuses("import", tmp_path / "oci")
    layout.write(*[layout.image(layer, Cmd=[str(i)]) for i in range(65)])
    assert "more than 64 images" in store.refuses("import", tmp_path / "oci")


def test_what_is_no_image_is_refused(store, tmp_path):
    (tmp_path / "text").write_text("hello, this is no archive of any kind\n" * 50)
    assert "not a tar archive" in store.refuses("import", tmp_path / "text")
    (tmp_path / "tar").write_bytes(tar(entry("a", b"1")))
    assert "neither an archive of `docker save` nor an OCI image layout" in store.refuses("import", tmp_path / "tar")
    (tmp_path / "deep.tar").write_bytes(tar(entry("manifest.json", b"[" * 100000)))
    assert "not JSON" in store.refuses("import", tmp_path / "deep.tar")
    (tmp_path / "twice.tar").write_bytes(tar(entry("manifest.json", b'[{"Config":"a","Config":"b"}]')))
    assert "not JSON" in store.refuses("import", tmp_path / "twice.tar")
    assert "No such file" in store.refuses("import", tmp_path / "missing")


# ---- the store ----

def big_archive(tmp_path):
    """Long enough to be met in the middle: some thousand files in each of three layers."""
    layers = [tar(*(entry(f"{n}/{i}", os.urandom(2000)) for i in range(3000))) for n in "abc"]
    return saved(tmp_path / "big.tar", *layers), layers


def test_a_killed_import_leaves_nothing_half_visible(store, tmp_path):
    archive, layers = big_archive(tmp_path)

    def in_tmp(pattern, count):
        return lambda: process.poll() is not None or sum(1 for _ in (store.path / "tmp").glob(pattern)) >= count

    for pattern, count in [("*", 1), ("*/archive/*", 1), ("*/archive/layer2/layer.tar", 1), ("*/layer/rootfs/a/*", 10), ("*/layer/rootfs/b/*", 1000), ("*/layer/rootfs/c/*", 1)]:
        process = store.start("import", archive)
        wait_until(lambda: (store.path / "tmp").exists() and in_tmp(pattern, count)(), 60, pattern)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "ended before it was killed"
        assert store.leftovers() != [] and list((store.path / "images").iterdir()) == []
        for name in store.layers():  # what is visible is whole
            assert sum(1 for p in (store.path / "layers/sha256" / name / "rootfs").glob("*/*")) == 3000
        assert store.ids() == [] and wait_until(lambda: store.run("list") and store.leftovers() == [], 10, "the next one sweeps")
    made = store.do("import", archive)
    assert store.ids() == [made[0]["id"]] and len(store.layers()) == 3
    store.do("remove", "made")
    assert store.layers() == [] and store.ids() == []


def test_parallel_imports_of_one_image_merge(store, tmp_path):
    archive, layers = big_archive(tmp_path)
    processes = [store.start("import", archive, "--json") for _ in range(4)]
    outputs = [p.communicate(timeout=120) for p in processes]
    assert [p.returncode for p in processes] == [0] * 4, outputs
    assert len({json.loads(out)[0]["id"] for out, _ in outputs}) == 1
    assert len(store.layers()) == 3 and len(store.ids()) == 1 and store.leftovers() == []


@pytest.mark.skipif(not is_root, reason="the unpacker has a range of users of its own")
def test_the_unpacker_has_no_rights(store, tmp_path):
    archive, _ = big_archive(tmp_path)
    process = store.start("import", archive)

    def confined():
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            except OSError:
                continue
            if fields.get("Name") == "faas-image" and fields["PPid"] == str(process.pid) and fields["Seccomp"] == "2":
                return fields
        assert process.poll() is None, "no unpacker was seen"
        return None

    fields = wait_until(confined, 60, "an unpacker is at work")
    assert fields["Uid"].split() == [str(OWNER)] * 4 and fields["Gid"].split() == [str(OWNER)] * 4 and fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0b11011  # of its own namespace: chown, dac_override, fowner, fsetid
    process.communicate()


def test_what_has_a_name_or_is_used_stays(store, tmp_path):
    base, one, two = tar(entry("base", b"1" * 1000)), tar(entry("one", b"1" * 2000000)), tar(entry("two", b"2" * 3000000))
    first = store.do("import", saved(tmp_path / "1.tar", base, one, tags=["one:1", "uno:1"]))[0]["id"]
    second = store.do("import", saved(tmp_path / "2.tar", base, two, tags=[]))[0]["id"]
    record = store.path / "images" / f"{second[7:]}.json"
    with open(record) as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # as whoever runs it does
        assert store.do("prune", "--unused-hours", "0")["images"] == []
        assert "is in use" in store.refuses("remove", second)
    assert store.do("prune")["images"] == []  # used a moment ago
    assert store.do("prune", "--keep-mb", "1000")["images"] == []
    assert store.do("prune", "--keep-mb", "4") == {"images": [second], "layers": 1, "bytes": 3000000}
    assert store.ids() == [first] and len(store.layers()) == 2
    assert store.do("prune", "--keep-mb", "0", "--unused-hours", "0")["images"] == []
    assert store.do("remove", "one:1")["images"] == [] and store.ids() == [first]
    assert store.do("remove", "uno:1")["images"] == [first] and store.layers() == []
    assert "is not on this machine" in store.refuses("remove", "uno:1", status=4)


def test_unused_images_go_by_age(store, tmp_path):
    made = store.do("import", saved(tmp_path / "1.tar", tar(entry("a", b"1")), tags=[]))[0]["id"]
    then = time.time() - 3 * 3600
    os.utime(store.path / "images" / f"{made[7:]}.json", (then, then))
    assert store.do("prune", "--unused-hours", "4")["images"] == []
    assert store.do("prune", "--unused-hours", "2")["images"] == [made]


def test_a_store_that_others_can_enter_is_not_used(store, tmp_path):
    store.do("import", saved(tmp_path / "1.tar", tar(entry("a", b"1"))))
    for folder in [store.path, store.path / "layers", store.path / "tmp"]:
        folder.chmod(0o755)
        assert "others must not enter it" in json.loads(store.run("list", "--json").stderr)["error"]["detail"]
        folder.chmod(0o700)
    for path in store.path.rglob("*"):
        if "rootfs" not in str(path):
            assert path.stat().st_mode & 0o077 == 0, path


# ---- a Docker Engine ----

def test_an_engines_image_has_the_same_id_in_both_runtimes(store, engine):
    """By the archive, by the engine, and by what the engine says about it."""
    env = {**os.environ, "DOCKER_HOST": engine}
    for name in ["faas-examples/report", "faas-tests/volume-user:latest", "faas-tests/entry-and-cmd"]:
        shown = json.loads(subprocess.run(["docker", "image", "inspect", name], env=env, text=True, capture_output=True, check=True).stdout)[0]
        made = store.do("pull", name, "--engine", DOCKER_HOST=engine)
        assert made[0]["id"] == canonical_id(shown["RootFS"]["Layers"], shown["Config"]), name
        assert made[0]["references"] == [f"docker.io/{name.removesuffix(':latest')}:latest"]
        assert store.do("inspect", name)["id"] == made[0]["id"]
    by_id = store.do("pull", shown["Id"], "--engine", "--tag", "by-id:1", DOCKER_HOST=engine)
    assert by_id[0]["id"] == made[0]["id"] and by_id[0]["references"] == ["docker.io/library/by-id:1"]


def test_what_an_engine_has_not_or_no_engine_is_said(store, engine):
    assert "the Docker Engine answered 404: " in store.refuses("pull", "never/made:1", "--engine", status=4, DOCKER_HOST=engine)
    assert "no image from the Docker Engine at unix:///nowhere" in store.refuses("pull", "a", "--engine", status=5, DOCKER_HOST="unix:///nowhere")
    assert "DOCKER_HOST: expected" in store.refuses("pull", "a", "--engine", DOCKER_HOST="http://x")
    assert "bad repository name" in store.refuses("pull", "a/../b", "--engine", DOCKER_HOST=engine)


# ---- pack ----

def test_a_folder_becomes_an_image_always_the_same(store, tmp_path):
    ids = []
    for i, umask in enumerate([0o022, 0o077]):
        old = os.umask(umask)
        folder = tmp_path / f"f{i}"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/prog").write_bytes(b"#!/bin/sh\n")
        (folder / "bin/prog").chmod(0o700 | (0o755 & ~umask))
        (folder / "data").write_text(f"same")
        os.symlink("bin/prog", folder / "run")
        os.utime(folder / "data", (1000 * i, 1000 * i))
        os.umask(old)
        ids.append(store.do("pack", folder, "--entrypoint", "/bin/prog", "--entrypoint", "-x", "--env", "A=1", "--workdir", "/data", "--user", "1000", "--tag", f"packed:{i}")[0]["id"])
    assert ids[0] == ids[1]
    shown = store.do("inspect", "packed:0")
    assert shown["config"] == {"cmd": None, "entrypoint": ["/bin/prog", "-x"], "env": ["A=1"], "user": "1000", "working_dir": "/data"} and shown["uid"] == 1000
    root = store.path / "layers/sha256" / shown["layers"][0][7:] / "rootfs"
    assert os.readlink(root / "run") == "bin/prog" and (root / "data").read_text() == "same"
    assert stat.S_IMODE((root / "bin/prog").stat().st_mode) == 0o755 and stat.S_IMODE((root / "data").stat().st_mode) == 0o644


def test_what_cannot_be_packed_is_named(store, tmp_path):
    folder = tmp_path / "f"
    (folder / "d").mkdir(parents=True)
    assert subprocess.run([BIN / "faas", "image", "pack", folder, "--entrypoint", b"/\xff", "--data", store.data], capture_output=True).stderr == \
        b"error: --entrypoint: must be UTF-8\n"
    os.mkfifo(folder / "d/pipe")
    assert "d/pipe: an image holds files, folders and links only" in store.refuses("pack", folder, "--entrypoint", "/x")
    (folder / "d/pipe").unlink()
    assert "--entrypoint is missing" in store.refuses("pack", folder)
    assert "expected NAME=value" in store.refuses("pack", folder, "--entrypoint", "/x", "--env", "A")
    assert "No such file" in store.refuses("pack", tmp_path / "missing", "--entrypoint", "/x")
    assert "bad repository name" in store.refuses("pack", folder, "--entrypoint", "/x", "--tag", "Bad Name")

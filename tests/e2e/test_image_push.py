"""`faas image push`: an image of the store goes to a registry with its layers byte for byte, and is the same image wherever it is pulled."""
import io
import os
import pathlib
import signal
import subprocess
import tarfile

import pytest

from image_files import Layout, digest, entry, hardlink, saved, tar
from support import Client, free_port, wait_until
from test_image import EXAMPLES, OWNER, Store, is_root, own  # noqa: F401 - own is a fixture
from test_image_pull import FETCHER, PASSWORD, Hostile, logins, registry  # noqa: F401 - a fixture
from test_native_images import Native

SHOW = "#include <stdio.h>\nint main(int count, char **words) { return count < 2 || fputs(words[1], stdout) < 0; }\n"
NOISE = os.urandom(700000)


@pytest.fixture
def stores(tmp_path):
    """Two stores that share nothing."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    return Store(tmp_path / "here"), Store(tmp_path / "there")


@pytest.fixture
def login(registry, tmp_path):  # noqa: F811
    return logins(tmp_path / "auth.json", **{registry: f"puller:{PASSWORD}"})


def pushed_and_pulled(stores, image, reference, login):
    """Pushes the image from the first store and pulls it into the second, which knows nothing of it; what the push said."""
    here, there = stores
    said = here.do("push", image, reference, "--auth-file", login)
    made = there.do("pull", reference, "--auth-file", login)
    before, after = here.do("inspect", image), there.do("inspect", reference)
    assert made[0]["id"] == said["id"] == before["id"] == after["id"]
    assert [after[key] for key in ("layers", "config", "uid", "gid")] == [before[key] for key in ("layers", "config", "uid", "gid")]
    assert here.leftovers() == there.leftovers() == []
    return said


def tar_of(format, *entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_packed_folder_is_the_same_image_elsewhere(stores, registry, login, tmp_path):  # noqa: F811
    (tmp_path / "folder/bin").mkdir(parents=True)
    (tmp_path / "folder/bin/a").write_bytes(NOISE)
    (tmp_path / "folder/bin/a").chmod(0o700)
    (tmp_path / "folder/empty").write_bytes(b"")
    (tmp_path / "folder/link").symlink_to("bin/a")
    stores[0].do("pack", tmp_path / "folder", "--tag", "mine:1", "--entrypoint", "/bin/a", "--cmd", "x", "--env", "A=ü", "--workdir", "/bin", "--user", "1000")
    said = pushed_and_pulled(stores, "mine:1", f"{registry}/mine:1", login)
    assert said["reference"] == f"{registry}/mine:1" and said["pinned"].startswith(f"{registry}/mine@sha256:")
    assert stores[0].do("inspect", f"{registry}/mine:1")["id"] == said["id"]
    assert stores[0].do("push", f"{registry}/mine:1", f"{registry}/mine:1", "--auth-file", login)["pinned"] == said["pinned"]


@pytest.mark.parametrize("name", ["echo", "report"])
def test_an_engines_archive_is_the_same_image_elsewhere(stores, registry, login, name):  # noqa: F811
    stores[0].do("import", EXAMPLES / f"{name}.tar")
    pushed_and_pulled(stores, f"faas-examples/{name}", f"{registry}/faas/{name}-again:1", login)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_unpacking_drops_is_still_pushed(stores, registry, login, tmp_path, format):  # noqa: F811
    """Times, owners and names that headers alone know; set-id bits, devices and whiteouts; bytes after the end."""
    device, fifo = entry("dev/null", type=tarfile.CHRTYPE), entry("pipe", type=tarfile.FIFOTYPE)
    odd = entry("bin/su", NOISE[:1000], mode=0o4755, uid=1000, gid=70000)
    odd[0].mtime, odd[0].uname = 1234567890, "somebody"
    lower = tar_of(format, entry("./"), entry("bin/"), odd, hardlink("bin/again", "bin/su"), entry("lib", link="bin"), entry("lib/through", b"1"), device, fifo,
                   entry("empty", b""), entry("closed", b"secret", mode=0o000, uid=5), entry("long/" + "n" * 90 + "/" + "m" * 90, NOISE[:511]))
    upper = tar_of(format, entry(".wh.empty"), entry("bin/"), entry("bin/.wh..wh..opq"), entry("bin/new", NOISE), entry("full", NOISE[:1024])) + b"\0" * 10240 + b"tail"
    stores[0].do("import", saved(tmp_path / "image.tar", lower, upper, lower))
    pushed_and_pulled(stores, "made", f"{registry}/odd:{format}", login)


def test_volumes_travel_along(stores, registry, login, tmp_path):  # noqa: F811
    stores[0].do("import", saved(tmp_path / "image.tar", tar(entry("a", b"1")), Cmd=["/a"], Volumes={"/srv/keep": {}, "/data": {}}))
    pushed_and_pulled(stores, "made", f"{registry}/volumes:1", login)


def test_names_that_are_not_text_are_pushed(stores, registry, login, tmp_path):  # noqa: F811
    layer = tar_of(tarfile.GNU_FORMAT, entry("caf\udce9", b"latin"), entry("a\nb", b"lines"))
    stores[0].do("import", saved(tmp_path / "image.tar", layer))
    pushed_and_pulled(stores, "made", f"{registry}/names:1", login)


def test_a_layer_that_was_compressed_is_pushed_under_the_same_diff_id(stores, registry, login, tmp_path):  # noqa: F811
    layer = tar(entry("a", b"x" * 300000), entry("b", NOISE))
    packed = subprocess.run(["zstd", "-qc"], input=layer, capture_output=True, check=True).stdout
    layout = Layout(tmp_path / "oci")
    stores[0].do("import", layout.write(layout.image(layer, blobs=[packed], layer_type="application/vnd.oci.image.layer.v1.tar+zstd")), "--tag", "made")
    pushed_and_pulled(stores, "made", f"{registry}/packed:1", login)


# ---- what cannot be pushed ----

def sparse_tar(folder):
    path = folder / "holes"
    with open(path, "wb") as file:
        file.seek(4 << 20)
        file.write(b"end")
    subprocess.run(["tar", "-C", folder, "--sparse", "-cf", folder / "sparse.tar", "holes"], check=True)
    return (folder / "sparse.tar").read_bytes()


def test_a_layer_that_is_run_but_not_kept_says_so(stores, registry, login, tmp_path):  # noqa: F811
    store, _ = stores
    kinds = {"sparse": sparse_tar(tmp_path), "twice": tar(entry("a", b"1"), entry("a", b"2")), "over": tar(entry("d/"), entry("d/a", b"1"), entry("d", b"file")),
             "hidden": tar(entry("a", b"1")) + os.urandom(2 << 20)}
    for kind, layer in kinds.items():
        store.do("import", saved(tmp_path / "image.tar", layer), "--tag", kind)
        assert "not kept" in store.refuses("push", kind, f"{registry}/{kind}", "--auth-file", login), kind
    assert (store.layer(kinds["sparse"]) / "holes").stat().st_size == (4 << 20) + 3


def test_layers_that_changed_or_came_with_an_older_release_are_not_pushed(stores, registry, login, tmp_path):  # noqa: F811
    store, _ = stores
    layer = tar(entry("a", b"contents"), entry("lib/"), entry("lib/b", b"b"))
    store.do("import", saved(tmp_path / "image.tar", layer))
    folder = store.layer(layer)
    record = folder.parent / "tarsplit.zst"

    def refused():
        return store.refuses("push", "made", f"{registry}/changed", "--auth-file", login)
    (folder / "a").write_bytes(b"CONTENTS")
    assert "not what they were" in refused()
    (folder / "a").write_bytes(b"longer contents")
    assert "damaged" in refused()
    (folder / "a").unlink()
    assert "cannot be read" in refused()
    os.symlink("/etc/hostname", folder / "a")
    assert "cannot be read" in refused()
    (folder / "lib/b").unlink()
    (folder / "lib").rmdir()
    os.symlink("/etc", folder / "lib")
    record.write_bytes(record.read_bytes()[:-9])
    refused()
    record.write_bytes(b"nonsense")
    assert "damaged" in refused()
    record.unlink()
    assert "older release" in refused()


def test_what_is_not_here_or_not_allowed_is_said(stores, registry, login):  # noqa: F811
    store, _ = stores
    store.do("import", EXAMPLES / "echo.tar")
    assert "is not on this machine" in store.refuses("push", "nothing", f"{registry}/x", "--auth-file", login, status=4)
    assert "ALLOWED_REGISTRIES" in store.refuses("push", "faas-examples/echo", "registry.example/x")
    assert "not a digest" in store.refuses("push", "faas-examples/echo", f"{registry}/x@sha256:{'0' * 64}")
    assert store.refuses("push", "faas-examples/echo", f"{registry}/x:--y z").startswith("image: ")
    why = store.refuses("push", "faas-examples/echo", f"{registry}/x")
    assert "cannot be pushed" in why and ("authentication required" in why or "unauthorized" in why), why


def test_pushing_skopeo_has_no_rights_and_no_secrets_in_view(stores, tmp_path):
    store, server = stores[0], Hostile()
    try:
        store.do("import", EXAMPLES / "echo.tar")
        server.hangs.set()
        process = store.start("push", "faas-examples/echo", f"{server.address}/x:1", "--auth-file", logins(tmp_path / "a", **{server.address: f"puller:{PASSWORD}"}))
        wait_until(lambda: server.asked, 20, "skopeo asks")
        (pid,) = map(int, pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        proc = pathlib.Path(f"/proc/{pid}")
        fields = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
        assert fields["Name"] == "skopeo" and fields["NoNewPrivs"] == "1" and int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
        seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        assert b"docker://" in seen and PASSWORD.encode() not in seen
        if is_root:
            assert fields["Uid"].split() == [str(FETCHER)] * 4
            assert (proc / "root/tmp/auth.json").stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not proc.exists(), 10, "skopeo is gone, too")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.skipif(not is_root, reason="becomes another user")
def test_another_user_than_root_may_push(own, stores, registry, login):  # noqa: F811
    own.chmod(0o755)
    (own / "data").mkdir()
    os.chown(own / "data", 4321, 4321)
    store = Store(own, user=4321)
    theirs = logins(own / "auth.json", **{registry: f"puller:{PASSWORD}"})
    os.chown(theirs, 4321, 4321)
    (own / "image.tar").write_bytes(pathlib.Path(EXAMPLES / "echo.tar").read_bytes())
    made = store.do("import", own / "image.tar", "--tag", "mine")
    store.do("push", "mine", f"{registry}/of/a/user:1", "--auth-file", theirs)
    assert stores[1].do("pull", f"{registry}/of/a/user:1", "--auth-file", login)[0]["id"] == made[0]["id"]


# ---- and it runs ----

@pytest.mark.skipif(not is_root, reason="sandboxes need root")
def test_what_one_machine_packed_runs_on_another(stores, registry, login, tmp_path):  # noqa: F811
    folder = tmp_path / "folder"
    folder.mkdir()
    subprocess.run(["cc", "-static", "-Os", "-x", "c", "-", "-o", folder / "show"], text=True, check=True, input=SHOW)
    made = stores[0].do("pack", folder, "--tag", "show", "--entrypoint", "/show")
    stores[0].do("push", "show", f"{registry}/show:1", "--auth-file", login)
    (tmp_path / "platform").mkdir()
    with Native(tmp_path / "platform", REGISTRY_AUTH_FILE=str(login)) as native:
        created = native.user.post("/registry/register", {"name": "f", "payload": f"{registry}/show:1"})
        assert created.status == 201 and created.json["digest"]["value"] == made[0]["id"], created.text
        assert native.user.call("f", "pushed").body == b"pushed"

"""Images made by hand: layers, `docker save` archives and OCI layouts, good ones and ones that no tool would write."""
import hashlib
import io
import json
import pathlib
import platform
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def entry(name, data=None, type=None, link="", mode=0o644, uid=0, gid=0, pax=None):
    """A tar entry: a file with data, a folder when the name ends in a slash, a symbolic link when link is given."""
    info = tarfile.TarInfo(name)
    info.type = type or (tarfile.SYMTYPE if link else tarfile.DIRTYPE if name.endswith("/") and data is None else tarfile.REGTYPE)
    info.linkname, info.mode, info.uid, info.gid, info.pax_headers = link, mode, uid, gid, pax or {}
    if info.isdir() and mode == 0o644:
        info.mode = 0o755
    data = data or b""
    info.size = len(data)
    return info, data


def hardlink(name, target):
    return entry(name, type=tarfile.LNKTYPE, link=target)


def tar(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(layers, architecture=ARCHITECTURE, diff_ids=None, **config):
    return {"architecture": architecture, "os": "linux", "config": config or {"Cmd": ["/a"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(layer) for layer in layers]}}


def saved(path, *layers, tags=("made:latest",), blobs=None, manifest=None, **config):
    """An archive as `docker save` writes it.  blobs: what is stored instead of the layers; manifest: fields of its entry to replace."""
    document = json.dumps(config_of(layers, **config)).encode()
    names = [f"layer{i}/layer.tar" for i in range(len(layers))]
    found = {"Config": "config.json", "RepoTags": list(tags), "Layers": names, **(manifest or {})}
    parts = [entry("config.json", document), *(entry(n, b) for n, b in zip(names, blobs or layers)),
             entry("manifest.json", json.dumps([found]).encode())]
    pathlib.Path(path).write_bytes(tar(*parts))
    return path


class Layout:
    """An OCI image layout in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "blobs/sha256").mkdir(parents=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, media_type, **more):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        (self.folder / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def image(self, *layers, blobs=None, layer_type=LAYER, layer_more=None, architecture=ARCHITECTURE, **config):
        document = self.blob(config_of(layers, architecture=architecture, **config), "application/vnd.oci.image.config.v1+json")
        stored = [self.blob(b, layer_type, **(layer_more or {})) for b in blobs or layers]
        return self.blob({"schemaVersion": 2, "mediaType": MANIFEST, "config": document, "layers": stored}, MANIFEST,
                         platform={"os": "linux", "architecture": architecture})

    def index(self, *manifests, **more):
        return self.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}, INDEX, **more)

    def write(self, *manifests):
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(manifests)}))
        return self.folder


def canonical_id(layers, config):
    """What the platform calls an image, of its diff ids and of its configuration as an engine or an archive tells it."""
    normal = {"cmd": config.get("Cmd") or None, "entrypoint": config.get("Entrypoint") or None, "env": config.get("Env") or [], "layers": layers,
              "user": config.get("User") or "", "working_dir": config.get("WorkingDir") or "/"}
    if config.get("Volumes"):
        normal["volumes"] = sorted(config["Volumes"])
    return digest(json.dumps(normal, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())

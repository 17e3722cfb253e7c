"""faas new and faas build: from nothing to an answer."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

import conftest
from support import Client, unique, wait_until

LANGS = {"c": "function.c", "shell": "function.sh", "python": "function.py", "node": "function.js", "go": "function.go"}
NO_ENGINE = "unix:///nowhere"


def faas(*args, cwd, env=None):
    return subprocess.run([conftest.BIN / "faas", *map(str, args)], cwd=cwd, env={**os.environ, **(env or {})}, text=True, capture_output=True, timeout=120)


def made(folder, name, lang):
    done = faas("new", name, "--lang", lang, cwd=folder)
    assert done.returncode == 0 and f"made {name}/" in done.stdout, (done.stdout, done.stderr)
    return folder / name


@pytest.mark.parametrize("lang", LANGS)
def test_a_folder_is_written_from_the_templates(tmp_path, lang):
    folder = made(tmp_path, "hello", lang)
    templates = conftest.ROOT / "cli/templates"
    wanted = [*(templates / "common").iterdir(), *(templates / lang).iterdir()]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in wanted)
    for path in wanted:
        assert (folder / path.name).read_text() == path.read_text().replace("@NAME@", "hello").replace("@LANG@", lang)
        assert os.access(folder / path.name, os.X_OK) == os.access(path, os.X_OK), path
    dockerfile = (folder / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--)(.*)$", dockerfile, re.M) for word in line.split()[:-1]]
    assert LANGS[lang] in copied and all((folder / name).exists() for name in copied), copied
    entrypoint = json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[-1])
    assert isinstance(entrypoint, list) and entrypoint[-1].startswith("/function")
    planned = faas("deploy", "-f", "stack.yml", "--dry-run", "--server", "http://127.0.0.1:1", cwd=folder, env={"FAAS_TOKEN": "x"})
    assert planned.returncode == 5 and "warning" not in planned.stderr, planned.stderr  # the file is right; the platform is not there


@pytest.mark.parametrize("command", [("python3", "function.py"), ("node", "function.js"), ("sh", "function.sh")])
def test_the_functions_of_the_templates_answer(tmp_path, command):
    lang = next(lang for lang, file in LANGS.items() if file == command[1])
    folder = made(tmp_path, "hello", lang)
    for argument, answer in ((["wörld"], "Hello, wörld!\n"), ([], "Hello, nobody!\n")):
        done = subprocess.run([*command, *argument], cwd=folder, text=True, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, answer), done.stderr


@pytest.mark.parametrize("lang", ["c", "shell"])
def test_without_an_engine_it_is_built_deployed_and_called(platform, tmp_path, lang):
    if not platform.is_native:
        pytest.skip("what is packed is in the image store of sandboxes")
    name, client = unique("new"), Client.new(platform.url)
    folder = made(tmp_path, name, lang)
    env = {**platform.env, "DOCKER_HOST": NO_ENGINE, "FAAS_URL": platform.url, "FAAS_TOKEN": client.token}
    built = faas("build", "--data", platform.data, cwd=folder, env=env)
    assert (built.returncode, built.stdout) == (0, f"built {name}: image {name}:latest\n"), built.stderr
    deployed = faas("deploy", "-f", "stack.yml", cwd=folder, env=env)
    assert deployed.returncode == 0, (deployed.stdout, deployed.stderr)
    for argument, answer in (("world", "Hello, world!\n"), ("a\n'b\" $c", "Hello, a\n'b\" $c!\n")):
        called = faas("invoke", name, "--", argument, cwd=folder, env=env)
        assert (called.returncode, called.stdout) == (0, answer), called.stderr
    source = folder / LANGS[lang]
    source.write_text(source.read_text().replace("Hello", "Bye"))
    assert faas("build", "--data", platform.data, cwd=tmp_path, env={**env, "HOME": str(tmp_path)}).returncode == 2  # no stack.yml there
    assert faas("build", "-f", f"{name}/stack.yml", "--data", platform.data, cwd=tmp_path, env=env).returncode == 0
    assert "rebuilt" in faas("deploy", "-f", f"{name}/stack.yml", cwd=tmp_path, env=env).stdout
    assert faas("invoke", name, "world", cwd=folder, env=env).stdout == "Bye, world!\n"


def test_an_engine_builds_from_the_dockerfile(engine, tmp_path):
    """No base image can be had here: the program is compiled before, and copied to nothing."""
    name = unique("new")
    folder = made(tmp_path, name, "c")
    subprocess.run(["./rootfs", "."], cwd=folder, check=True)
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY function /function\nENTRYPOINT ["/function"]\n')
    docker = {**os.environ, "DOCKER_HOST": engine, "DOCKER_BUILDKIT": "0"}
    try:
        done = faas("build", "--json", cwd=folder, env=docker)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [{"name": name, "image": f"{name}:latest", "outcome": "built"}]
        shown = subprocess.run(["docker", "inspect", "-f", "{{json .Config.Entrypoint}}", f"{name}:latest"], env=docker, text=True, capture_output=True)
        assert json.loads(shown.stdout) == ["/function"], shown.stderr
    finally:
        subprocess.run(["docker", "rmi", f"{name}:latest"], env=docker, capture_output=True)


def text_of(*args):
    return subprocess.run(args, check=True, text=True, capture_output=True).stdout


def libraries(*programs):
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", text_of("ldd", *programs), re.M)


def compiler_files():
    """What this machine's gcc needs to make a static program, by name; and a shell for RUN."""
    cc1 = text_of("gcc", "-print-prog-name=cc1").strip()
    parts = [cc1, *(text_of("gcc", f"-print-prog-name={name}").strip() for name in ("collect2", "as", "ld"))]
    programs = ["/usr/bin/gcc", *(part if part.startswith("/") else f"/usr/bin/{part}" for part in parts)]
    own = [text_of("gcc", f"-print-file-name={name}").strip() for name in ("liblto_plugin.so", "include", "crtbeginT.o", "crtend.o", "libgcc.a", "libgcc_eh.a")]
    headers = [name for name in text_of("dpkg", "-L", "libc6-dev", "linux-libc-dev").splitlines() if os.path.isfile(name) and "/include/" in name]
    start = [text_of("gcc", f"-print-file-name={name}").strip() for name in ("crt1.o", "crti.o", "crtn.o", "libc.a")]
    return sorted({*programs, *libraries(*programs), *own, *headers, *map(os.path.normpath, start)})


def node_files():
    node = text_of("node", "-p", "process.execPath").strip()
    return sorted({node, *libraries(node)})


def import_files(image, names, docker, folder):
    """A base image of files that are here, and a shell."""
    os.makedirs(folder / "bin")
    (folder / "bin/sh").symlink_to(text_of("which", "busybox").strip())
    subprocess.run(["tar", "--hard-dereference", "-chf", folder / "base.tar", "-C", folder, "bin/sh", "-C", "/", *(name.lstrip("/") for name in names)], check=True, capture_output=True)
    subprocess.run(["docker", "import", "--change", "ENV PATH=/usr/bin:/bin", folder / "base.tar", image], env=docker, check=True, capture_output=True)


def make_base(lang, image, docker, folder):
    """Under the base's name: what scripts/base-image makes, or this machine's compiler or node."""
    if lang in ("c", "node"):
        import_files(image, compiler_files() if lang == "c" else node_files(), docker, folder)
        return
    kind = {"python": "python", "shell": "busybox"}[lang]
    subprocess.run([conftest.ROOT / "scripts/base-image", kind], env=docker, check=True, capture_output=True)
    subprocess.run(["docker", "tag", f"faas-base/{kind}:local", image], env=docker, check=True)


@pytest.mark.parametrize("lang", ["c", "node", "python", "shell"])
def test_an_engine_builds_the_template_as_it_is(platform, tmp_path, lang):
    if platform.is_native:
        pytest.skip("of an engine's images")
    name, client = unique("new"), Client.new(platform.url)
    folder = made(tmp_path, name, lang)
    base = re.match("FROM (\\S+)", (folder / "Dockerfile").read_text()).group(1)
    docker = {**os.environ, "DOCKER_HOST": platform.docker_host, "DOCKER_BUILDKIT": "0"}
    is_ours = subprocess.run(["docker", "image", "inspect", base], env=docker, capture_output=True).returncode != 0
    if is_ours:  # no registry answers
        make_base(lang, base, docker, tmp_path)
    try:
        env = {**docker, **platform.env, "FAAS_URL": platform.url, "FAAS_TOKEN": client.token}
        built = faas("build", cwd=folder, env=env)
        assert (built.returncode, built.stdout) == (0, f"built {name}: image {name}:latest\n"), built.stderr
        deployed = faas("deploy", "-f", "stack.yml", cwd=folder, env=env)
        assert deployed.returncode == 0, (deployed.stdout, deployed.stderr)
        called = faas("invoke", name, "--", "wörld $x", cwd=folder, env=env)
        assert (called.returncode, called.stdout) == (0, "Hello, wörld $x!\n"), called.stderr
    finally:
        client.delete(f"/v1/functions/{name}")
        subprocess.run(["docker", "rmi", f"{name}:latest", *([base] if is_ours else [])], env=docker, capture_output=True)


def test_what_cannot_be_built_says_why_and_the_others_are_built(tmp_path):
    made(tmp_path, "one", "python"), made(tmp_path, "two", "shell"), made(tmp_path, "three", "c")
    (tmp_path / "three/function.c").write_text("no C\n")
    (tmp_path / "stack.yml").write_text("functions:\n" + "".join(
        f"  {name}: {{lang: {lang}, handler: ./{name}, image: '{name}:1'}}\n" for name, lang in (("one", "python"), ("three", "c"), ("two", "shell"), ("four", "c"))))
    done = faas("build", "--data", tmp_path / "data", cwd=tmp_path, env={"DOCKER_HOST": NO_ENGINE, "TMPDIR": str(tmp_path)})
    assert done.returncode == 1 and done.stdout == "built two: image two:1\n", (done.stdout, done.stderr)
    for said in ("error: one: python needs a Docker Engine, and none answers at unix:///nowhere", "function.c:1", "error: three: sh failed with exit status 1; see above",
                 "error: four: ././four has no Dockerfile"):
        assert said in done.stderr, done.stderr
    assert not list(tmp_path.glob("faas-build-*"))
    only = faas("build", "--only", "two", "--json", "--data", tmp_path / "data", cwd=tmp_path, env={"DOCKER_HOST": NO_ENGINE})
    assert [f["name"] for f in json.loads(only.stdout)] == ["two"]


def test_a_recipe_does_not_get_the_token(tmp_path):
    folder = made(tmp_path, "hello", "shell")
    recipe = folder / "rootfs"
    recipe.write_text(recipe.read_text() + "env >seen\n")
    done = faas("build", "--pack", "--data", tmp_path / "data", cwd=folder, env={"FAAS_TOKEN": "not-for-recipes"})
    assert done.returncode == 0, done.stderr
    assert "PATH=" in (folder / "seen").read_text() and "not-for-recipes" not in (folder / "seen").read_text()


def test_a_build_that_takes_too_long_is_ended(tmp_path):
    folder = made(tmp_path, "hello", "shell")
    (folder / "rootfs").write_text("#!/bin/sh\necho $$ >pid\nexec sleep 1000\n")
    done = faas("build", "--pack", "--timeout-s", "1", "--data", tmp_path / "data", cwd=folder)
    assert done.returncode == 1 and "sh did not end within 1 s" in done.stderr, done.stderr
    assert not pathlib.Path("/proc", (folder / "pid").read_text().strip()).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_ended_leaves_nothing(tmp_path, number):
    folder, temporary = made(tmp_path, "hello", "shell"), tmp_path / "temporary"
    temporary.mkdir()
    (folder / "rootfs").write_text('#!/bin/sh\ntouch "$1/file"\nsleep 1000 &\necho $! >pid.new\nmv pid.new pid\nwait\n')
    with subprocess.Popen([conftest.BIN / "faas", "build", "--pack", "--data", tmp_path / "data"], cwd=folder, env={**os.environ, "TMPDIR": str(temporary)}) as build:
        wait_until((folder / "pid").exists, 30, "the recipe runs")
        assert len(list(temporary.glob("faas-build-*/file"))) == 1
        build.send_signal(number)
        assert build.wait(30) == -number
    assert list(temporary.iterdir()) == []
    wait_until(lambda: not pathlib.Path("/proc", (folder / "pid").read_text().strip()).exists(), 30, "nothing that the recipe started runs")


def test_wrong_usage_names_what_to_change(tmp_path):
    made(tmp_path, "there", "c")
    for args, hint in ((("new", "f"), "--lang is missing"), (("new", "f", "--lang", "pyhton"), "did you mean python?"), (("new", "f", "--lang", "common"), "--lang is"),
                       (("new", "Upper", "--lang", "c"), "small letters"), (("new", "../f", "--lang", "c"), "small letters"), (("new", "there", "--lang", "c"), "there already"),
                       (("build",), "faas new"), (("build", "-f", "there/stack.yml", "--only", "x"), "no such function")):
        done = faas(*args, cwd=tmp_path)
        assert done.returncode == 2 and hint in done.stderr, (args, done.returncode, done.stderr)
    (tmp_path / "plain.yml").write_text("functions: {f: {image: i}}\n")
    done = faas("build", "-f", "plain.yml", cwd=tmp_path)
    assert done.returncode == 2 and "handler" in done.stderr, done.stderr

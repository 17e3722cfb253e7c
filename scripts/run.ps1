#!/usr/bin/env pwsh
# run.ps1 - scripts/run for who works in PowerShell, with the same arguments: scripts/run.ps1 --help.
# It is scripts/run that does it, by bash: on Windows by that of WSL, where Docker Desktop runs its
# engine, too (Settings, Resources, WSL integration). Secrets need owners and modes, which files have
# there and not in a Windows folder, so FAAS_SECRETS is in the home of that Linux.
$ErrorActionPreference = 'Stop'

$root = Split-Path -Parent (Split-Path -Parent $PSCommandPath)
# What scripts/run and the Compose files take from the environment.
$settings = @(
    'ADVERTISE_ADDR', 'ALLOWED_REGISTRIES', 'DOCKER_SOCK', 'FAAS_CLUSTER', 'FAAS_IMAGES',
    'FAAS_REPLICAS', 'FAAS_SECRETS', 'FAAS_UID', 'GATEWAY_METRICS_LISTEN', 'HEALTH_INTERVAL',
    'HTTPS_PORT', 'HTTP_PORT', 'LOG_LEVEL', 'MAX_CONTAINERS', 'NATS1_NODE', 'NATS2_NODE',
    'NATS3_NODE', 'NATS_IMAGE', 'NATS_PROBE', 'NATS_TAG', 'NATS_USER', 'PASSWORD_POLICY', 'SIGNUP',
    'SPAWNER_UID', 'SPAWNER_USER'
)

if ($env:OS -ne 'Windows_NT') {
    & bash "$root/scripts/run" @args
    exit $LASTEXITCODE
}
if (-not $env:FAAS_SECRETS) {
    $env:FAAS_SECRETS = (& wsl.exe --exec printenv HOME) + '/.local/share/faas/secrets'
}
$given = $settings | Where-Object { Test-Path "env:$_" }
$env:WSLENV = (@($env:WSLENV) + $given | Where-Object { $_ }) -join ':'
& wsl.exe --cd $root --exec bash scripts/run @args
exit $LASTEXITCODE

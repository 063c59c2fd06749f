/**
 * `npm run build`: a tarball and a Debian package that carry their runtime: sources without tests, the
 * production dependencies of the lock file, and the Node binary that the checkout pins. Node runs the
 * TypeScript as it is, since it does not lie under a node_modules folder.
 *
 *   dist/anello-VERSION-linux-ARCH.tar.gz     unpack anywhere, run bin/anello
 *   dist/anello_VERSION_ARCH.deb              /usr/lib/anello, /usr/bin/anello, the unit, a user
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { render } from '../deploy/render.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PARTS = ['src', 'tools', 'deploy', 'rings', 'package.json', 'LICENSE', 'README.md'];
const UNWANTED = /\.(test|debian|contract)\.ts$|\/testing(\/|$)|\/tools\/dev(\/|$)/;
/** Sources of native modules, and prebuilt ones for other systems. */
const UNWANTED_IN_MODULES = /better-sqlite3\/(deps|src|build)(\/|$)|prebuilds\/(darwin|win32)/;
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

const POSTINST = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  if ! getent passwd anello >/dev/null; then
    adduser --system --group --home /var/lib/anello --no-create-home anello >/dev/null 2>&1 ||
      useradd --system --user-group --home-dir /var/lib/anello --shell /usr/sbin/nologin anello
  fi
  install -d -o anello -g anello -m 0750 /var/lib/anello
  install -d -o root -g anello -m 0750 /etc/anello
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
`;

interface LockFile {
  readonly packages: Readonly<
    Record<string, { dev?: boolean; devOptional?: boolean; os?: string[]; cpu?: string[] }>
  >;
}

const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};
const { values } = parseArgs({ options: { out: { type: 'string' } } });
const out = path.resolve(values.out ?? path.join(ROOT, 'dist'));
const debianName = ARCHITECTURES[process.arch] ?? process.arch;

const folder = path.join(out, `anello-${version}-linux-${process.arch}`);
rmSync(folder, { recursive: true, force: true });
mkdirSync(path.join(folder, 'bin'), { recursive: true });
copySources();
copyModules();
copyRuntime();
run('tar', '-C', out, '-czf', `${folder}.tar.gz`, path.basename(folder));
buildDebianPackage();
for (const file of [`${folder}.tar.gz`, path.join(out, `anello_${version}_${debianName}.deb`)])
  console.log(`${file}  ${(statSync(file).size / 1e6).toFixed(0)} MB`);

function copySources(): void {
  for (const part of PARTS) {
    cpSync(path.join(ROOT, part), path.join(folder, part), {
      recursive: true,
      filter: (source) => !UNWANTED.test(source),
    });
  }
}

/** What the lock file has for production and for this system; nothing is fetched. */
function copyModules(): void {
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as LockFile;
  const modules = realpathSync(path.join(ROOT, 'node_modules'));
  for (const [name, { dev, devOptional }] of Object.entries(lock.packages)) {
    const from = path.join(modules, name.replace(/^node_modules\//, ''));
    if (name === '' || dev || devOptional || !existsSync(from)) continue;
    cpSync(from, path.join(folder, name), {
      recursive: true,
      filter: (source) => !UNWANTED_IN_MODULES.test(source),
    });
  }
}

function copyRuntime(): void {
  const node = path.join(folder, 'bin', 'node');
  copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);
  const launcher = path.join(folder, 'bin', 'anello');
  writeFileSync(
    launcher,
    `#!/bin/sh
# Follows links, so that /usr/bin/anello may be one.
self=$(readlink -f "$0")
here=$(dirname "$self")
exec "$here/node" "$here/../tools/anello.js" "$@"
`,
  );
  chmodSync(launcher, 0o755);
}

function buildDebianPackage(): void {
  const root = path.join(out, 'debian-root');
  rmSync(root, { recursive: true, force: true });
  for (const name of ['DEBIAN', 'usr/lib/systemd/system', 'usr/bin', 'etc/anello'])
    mkdirSync(path.join(root, name), { recursive: true });
  cpSync(folder, path.join(root, 'usr/lib/anello'), { recursive: true });
  symlinkSync('../lib/anello/bin/anello', path.join(root, 'usr/bin/anello'));
  const unit = render('anello.service', {
    command: '/usr/bin/anello',
    config: '/etc/anello/node.yaml',
    data: '/var/lib/anello',
    disks: ['-/srv'],
  });
  writeFileSync(path.join(root, 'usr/lib/systemd/system/anello.service'), unit);
  writeFileSync(path.join(root, 'DEBIAN/control'), control());
  const postinst = path.join(root, 'DEBIAN/postinst');
  writeFileSync(postinst, POSTINST);
  chmodSync(postinst, 0o755);
  const file = path.join(out, `anello_${version}_${debianName}.deb`);
  run('dpkg-deb', '--root-owner-group', '-Zgzip', '-z6', '--build', root, file);
  rmSync(root, { recursive: true, force: true });
}

function control(): string {
  return `Package: anello
Version: ${version}
Architecture: ${debianName}
Maintainer: Anello maintainers <maintainers@localhost>
Depends: libc6 (>= 2.28), libstdc++6
Recommends: chrony
Suggests: etcd-server, haproxy, nftables, prometheus
Section: net
Priority: optional
Description: geo-distributed, ring-based object store
 Speaks OpenStack Swift, S3 and Keystone v3. Carries its own runtime.
`;
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

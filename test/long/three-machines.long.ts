/**
 * The guide, followed: three machines with disks, etcd, HAProxy, firewall and certificates of their own come
 * up from the package, take load, get a fourth, are drained of it, lose a site and get it back. Every
 * command is one of the guide; clients write all the time, and everything acknowledged is there at the end.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '../cluster/cluster.ts';
import { mustBeInGuide } from './guide.ts';
import { CLIENTS, Lab, type LabMachine, stop, whatLabLacks } from './lab.ts';
import type { WriterPlan, WriterReport } from './writers.ts';

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, '../..');
const DISKS = ['/srv/disk1', '/srv/disk2'];
const machine = (name: string, site: number, n = 1): LabMachine => {
  return { name, site, address: `10.${site}.0.${n}`, disks: DISKS };
};
const LNGS = machine('lngs-1', 1);
const BARI = machine('bari-1', 2);
const PADOVA = machine('padova-1', 3);
const FOURTH = machine('bari-2', 2, 2);
const FIRST_THREE = [LNGS, BARI, PADOVA];
const STATE = `etcd:${FIRST_THREE.map(({ address }) => `https://${address}:2379`).join(',')}`;
const MINUTE = 60_000;

const lacks = whatLabLacks();
if (lacks !== undefined) console.warn(`machines in network namespaces: skipped, ${lacks}`);

const DESCRIPTION = `format: 1
name: physics
part_power: 8
min_part_hours: 0
overload: 1
policies: [{name: standard, index: 0, replicas: 3, default: true}]
sites:
${FIRST_THREE.map(
  ({ name, address }) => `  ${name.replace('-1', '')}:
    - {node: ${name}, wire: "${address}:7400", devices: [{name: disk1, weight: 100}, {name: disk2, weight: 100}]}`,
).join('\n')}
`;

let lab: Lab;
let installed = '';
const units = new Map<string, ChildProcess>();

/** A command of the guide, where the guide says. */
function guided({ name }: LabMachine, command: string): Promise<string> {
  return lab.shell(name, mustBeInGuide(command));
}

/** On the operator's desk, which is the first machine. */
const operator = (command: string): Promise<string> => guided(LNGS, command);

function write({ name }: LabMachine, file: string, text: string): Promise<string> {
  const line = `mkdir -p ${path.dirname(file)} && cat > ${file} <<'END'\n${text}\nEND`;
  return lab.shell(name, line);
}

async function until(what: string, check: () => Promise<boolean>, ms = 2 * MINUTE): Promise<void> {
  let last: unknown;
  for (const end = Date.now() + ms; Date.now() < end; await sleep(500))
    if (await check().catch((error: unknown) => void (last = error))) return;
  throw new Error(`not within ${ms / 1000} s: ${what}`, { cause: last });
}

/** What `systemctl start anello` runs: the command of the unit that the guide has rendered. */
async function startNode(node: LabMachine): Promise<void> {
  const unit = await guided(node, 'anello deploy systemd --disk /srv/disk1 --disk /srv/disk2');
  const command = /^ExecStart=(.+)$/m.exec(unit)![1]!;
  units.set(node.name, lab.daemon(node.name, command));
  const health = `http://127.0.0.1:7500/healthcheck`;
  await until(`${node.name} runs`, async () =>
    (await lab.shell(node.name, `curl -sf ${health}`)).includes('OK'),
  );
}

async function startEtcd(node: LabMachine): Promise<void> {
  const own = `--state ${STATE} --address ${node.address} --description /etc/anello/cluster.yaml`;
  await write(node, '/etc/anello/cluster.yaml', DESCRIPTION);
  await lab.shell(node.name, `${mustBeInGuide(`anello deploy etcd ${own}`)} > /etc/default/etcd`);
  await lab.shell(node.name, 'mkdir -p /var/lib/etcd/anello && chmod 700 /var/lib/etcd/anello');
  lab.daemon(node.name, 'env $(grep -v ^# /etc/default/etcd) etcd --log-level warn');
}

/** One authority of etcd's own, a certificate for each machine; the public name's is made by it too. */
async function makeCertificates(): Promise<void> {
  const folder = '/etc/anello/etcd';
  const authority = `openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj /CN=etcd -keyout ca.key -out ca.pem`;
  await lab.shell(LNGS.name, `mkdir -p ${folder} && cd ${folder} && ${mustBeInGuide(authority)}`);
  const [key, certificate] = await Promise.all(
    ['ca.key', 'ca.pem'].map((file) => lab.shell(LNGS.name, `cat ${folder}/${file}`)),
  );
  for (const node of FIRST_THREE) {
    await write(node, `${folder}/ca.pem`, certificate!);
    await write(node, `${folder}/ca.key`, key!);
    const of = `-CA ca.pem -CAkey ca.key -addext subjectAltName=IP:${node.address}`;
    const request = `openssl req -x509 ${of} -newkey rsa:2048 -nodes -days 825 -subj /CN=${node.name} -keyout member.key -out member.pem`;
    await lab.shell(node.name, `cd ${folder} && ${mustBeInGuide(request)} && rm ca.key`);
    await lab.shell(node.name, `cd ${folder} && cat member.pem member.key > ../public.pem`);
  }
  await lab.shell(CLIENTS, `cat > ${lab.folder}/ca.pem <<'END'\n${certificate}END`);
}

const ETCD_FILES = `etcd:
  authorityFile: /etc/anello/etcd/ca.pem
  certificateFile: /etc/anello/etcd/member.pem
  keyFile: /etc/anello/etcd/member.key`;

async function join(node: LabMachine, site: string, roles: string, more = ''): Promise<void> {
  const made = await operator(`anello node token --site ${site} --roles ${roles}`);
  const own = `--name ${node.name} --address ${node.address}`;
  const disks = node.disks.map((disk) => `--disk ${disk}`).join(' ');
  await guided(
    node,
    `anello join https://${LNGS.address}:7600 --token ${made.trim()} ${own} ${disks}`,
  );
  if (more !== '') await lab.shell(node.name, `cat >> /etc/anello/node.yaml <<'END'\n${more}\nEND`);
}

async function firewall(nodes: readonly LabMachine[]): Promise<void> {
  for (const node of nodes) {
    const site = node.name.replace(/-\d$/, '');
    const rules = await operator(`anello deploy nftables --site ${site}`);
    await write(node, '/etc/nftables.d/anello.nft', rules);
    await lab.shell(node.name, mustBeInGuide('nft -f /etc/nftables.d/anello.nft'));
  }
}

async function startBalancer(node: LabMachine): Promise<void> {
  const site = node.name.replace(/-\d$/, '');
  const command = `anello deploy haproxy --site ${site} --certificate /etc/anello/public.pem`;
  await write(node, '/etc/haproxy/haproxy.cfg', await operator(command));
  await lab.shell(node.name, mustBeInGuide('haproxy -c -f /etc/haproxy/haproxy.cfg'));
  lab.daemon(node.name, 'haproxy -db -f /etc/haproxy/haproxy.cfg');
  const ask = `curl -sf --cacert /etc/anello/etcd/ca.pem https://${node.address}/healthcheck`;
  await until(`HAProxy of ${node.name} serves`, async () => {
    await lab.shell(node.name, ask);
    return true;
  });
}

async function writerPlan(): Promise<WriterPlan> {
  const text = await lab.shell(LNGS.name, 'cat /etc/anello/admin.openrc');
  const value = (name: string): string => new RegExp(`${name}='(.*)'`).exec(text)![1]!;
  return {
    fronts: FIRST_THREE.map(({ address }) => `https://${address}`),
    user: value('OS_USERNAME'),
    password: value('OS_PASSWORD'),
    project: value('OS_PROJECT_NAME'),
    domain: value('OS_USER_DOMAIN_NAME'),
  };
}

async function startWriters(): Promise<ChildProcess> {
  const plan = JSON.stringify(await writerPlan());
  const program = path.join(import.meta.dirname, 'writers.ts');
  const ca = `NODE_EXTRA_CA_CERTS=${lab.folder}/ca.pem`;
  const child = lab.daemon(CLIENTS, `env ${ca} ${process.execPath} ${program} '${plan}'`);
  await once(child.stdout!, 'data');
  expect(child.exitCode).toBe(null);
  return child;
}

/** Ports that others can reach, of all programs of this machine; what listens on the machine itself is left out. */
async function openPorts(node: LabMachine): Promise<number[]> {
  const text = await lab.shell(node.name, 'ss -Hltn');
  const local = text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/)[3]!);
  const reachable = local.filter((address) => !/^(127\.|\[::1\])/.test(address));
  return [...new Set(reachable.map((address) => Number(address.split(':').at(-1))))].sort(
    (a, b) => a - b,
  );
}

/** Ports of other sites that this machine is connected to. */
async function portsBetweenSites(node: LabMachine): Promise<number[]> {
  const text = await lab.shell(node.name, 'ss -Htn state established');
  const pairs = text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).slice(-2));
  const own = new Set(await openPorts(node));
  const ports = pairs.flatMap(([from, to]) => {
    const [host, port] = to!.split(':');
    const isElsewhere = host!.startsWith('10.') && !host!.startsWith(`10.${node.site}.`);
    // A connection that came in has this machine's own port at this end.
    return isElsewhere && !own.has(Number(from!.split(':')[1])) ? [Number(port)] : [];
  });
  return [...new Set(ports)].sort((a, b) => a - b);
}

/** Every object has all its good copies, at their places, as the meter of the first machine counts. */
async function isWhole(): Promise<boolean> {
  const { objects, handoffs } = JSON.parse(await operator('anello status --durability --json'));
  return objects.total > 0 && objects.full === objects.total && handoffs === 0;
}

interface RingStatus {
  readonly rings: readonly { readonly joint: number }[];
  readonly inForceEverywhere: boolean;
}

async function isSettled(): Promise<boolean> {
  const status: RingStatus = JSON.parse(await operator('anello ring status --json'));
  return status.rings.every(({ joint }) => joint === 0) && status.inForceEverywhere;
}

beforeAll(async () => {
  if (lacks !== undefined) return;
  lab = new Lab(FIRST_THREE.map(({ site }) => site));
  await run(process.execPath, ['tools/dev/build.ts', '--out', lab.folder], { cwd: ROOT });
  const deb = readdirSync(lab.folder).find((file) => file.endsWith('.deb'))!;
  installed = path.join(lab.folder, 'installed');
  await run('dpkg-deb', ['-x', path.join(lab.folder, deb), installed]);
  for (const node of [...FIRST_THREE, FOURTH]) await lab.add(node, installed);
}, 10 * MINUTE);
afterAll(() => lab?.close(), 5 * MINUTE);

describe.skipIf(lacks !== undefined && process.env['CI'] !== 'true')('three machines', () => {
  let writers: ChildProcess;
  const during = (phase: string): void => void writers.stdin!.write(`phase ${phase}\n`);

  it('come up by the commands of the guide', { timeout: 10 * MINUTE }, async () => {
    await makeCertificates();
    for (const node of FIRST_THREE) await startEtcd(node);
    const file = `format: 1
name: ${LNGS.name}
data: /var/lib/anello
disks: [${DISKS.join(', ')}]
address: ${LNGS.address}
authorities: [https://${LNGS.address}:7600]
${ETCD_FILES}`;
    await write(LNGS, '/etc/anello/node.yaml', file);
    const what = `--config /etc/anello/node.yaml --site lngs --description cluster.yaml --state ${STATE}`;
    await lab.shell(
      LNGS.name,
      `cd /etc/anello && ${mustBeInGuide(`anello authority init ${what}`)}`,
    );
    await startNode(LNGS);
    for (const [node, site] of [
      [BARI, 'bari'],
      [PADOVA, 'padova'],
    ] as const) {
      await join(node, site, 'proxy,identity,storage', ETCD_FILES);
      await startNode(node);
    }
    await operator('anello ring plan /etc/anello/cluster.yaml');
    await operator('anello ring apply --wait');
    await firewall(FIRST_THREE);
    for (const node of FIRST_THREE) await startBalancer(node);
    expect(await operator('anello recon')).toContain('padova-1');
  });

  it('take load', { timeout: 5 * MINUTE }, async () => {
    writers = await startWriters();
    during('load');
    await sleep(20_000);
  });

  it('have only the ports open that the firewall table names', async () => {
    const table = new Set([7400, 7600, 2379, 2380, 443, 8080, 5000]);
    for (const node of FIRST_THREE) {
      const open = await openPorts(node);
      expect(open.filter((port) => !table.has(port))).toEqual([]);
      expect(open.filter((port) => port >= 6000 && port <= 6063)).toEqual([]);
      const between = await portsBetweenSites(node);
      // Wire, authority, etcd; 8080 is how a balancer looks after the proxies of other sites.
      expect(between.filter((port) => ![7400, 7600, 2379, 2380, 8080].includes(port))).toEqual([]);
    }
  });

  it('let clients in to the public name and to nothing of the inside', async () => {
    const isOpen = (port: number): Promise<boolean> => {
      const knock = `timeout 3 bash -c '</dev/tcp/${BARI.address}/${port}'`;
      return lab.shell(CLIENTS, knock).then(
        () => true,
        () => false,
      );
    };
    expect(await isOpen(443)).toBe(true);
    for (const port of [7400, 7500, 7600, 2379, 2380])
      expect([port, await isOpen(port)]).toEqual([port, false]);
  });

  it('get a fourth', { timeout: 15 * MINUTE }, async () => {
    during('fourth-node');
    await lab.shell(
      LNGS.name,
      mustBeInGuide(`nft add element inet anello nodes4 { ${FOURTH.address} }`),
    );
    await join(FOURTH, 'bari', 'storage');
    await startNode(FOURTH);
    await firewall([...FIRST_THREE, FOURTH]);
    const added = FOURTH.disks.map(
      (disk) =>
        `--add-device bari/${FOURTH.name}/${path.basename(disk)}=100@${FOURTH.address}:7400`,
    );
    const plan = mustBeInGuide(`anello ring plan ${added.join(' ')}`);
    expect(await operator(plan)).toContain('bari');
    await operator('anello ring apply --wait');
    await until('the new ring is in force', isSettled, 5 * MINUTE);
    expect(await operator('anello ring show')).toContain(FOURTH.name);
  });

  it('are drained of it', { timeout: 15 * MINUTE }, async () => {
    during('drain');
    await operator(`anello ring plan --drain ${FOURTH.name}`);
    await operator('anello ring apply --wait');
    await until('its devices are empty', isSettled, 5 * MINUTE);
    await operator(`anello ring plan --remove ${FOURTH.name}`);
    await operator('anello ring apply --wait');
    expect(await operator('anello ring show')).not.toContain(FOURTH.name);
    await operator(`anello node expel ${FOURTH.name}`);
    await stop(units.get(FOURTH.name)!);
    await firewall(FIRST_THREE);
  });

  it('lose a site, and get it back', { timeout: 15 * MINUTE }, async () => {
    during('site-lost');
    lab.cut(PADOVA.site, true);
    await sleep(45_000);
    lab.cut(PADOVA.site, false);
    during('site-back');
    await sleep(20_000);
  });

  it('have everything that was acknowledged', { timeout: 20 * MINUTE }, async () => {
    const answer = once(writers.stdout!, 'data');
    writers.stdin!.write('verify\n');
    const report: WriterReport = JSON.parse(String((await answer)[0]));
    console.log(JSON.stringify({ ...report, lost: report.lost.length }));
    expect(report.lost).toEqual([]);
    expect(report.unlisted).toEqual([]);
    for (const [name, { acknowledged, failed }] of Object.entries(report.phases))
      if (name !== 'start') expect([name, failed, acknowledged > 0]).toEqual([name, 0, true]);
  });

  it('are whole again, without a command', { timeout: 10 * MINUTE }, async () => {
    try {
      await until('every object has its copies', isWhole, 8 * MINUTE);
    } catch (error) {
      console.log(await operator('anello status --durability'));
      for (const node of FIRST_THREE) console.log(await guided(node, 'anello repair show'));
      throw error;
    }
  });
});

/**
 * Lets things go wrong, within what the cluster promises to survive: any number of crashes, cuts and
 * absences, but only one device (the victim) is ever damaged, until everything is whole again.
 */
import type { LinkOptions } from '#env/sim/fabric.ts';
import type { Prng } from '#env/sim/prng.ts';
import type { SimCluster, SimNode } from './cluster.ts';
import { type Fault, MAX_CLOCK_ERROR_MS, type Plan } from './plan.ts';
import { RingChanges } from './ring-changes.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MINUTE_MS = 60_000;
const DISK_BYTES = 100 * 2 ** 30;

export class Nemesis {
  /** Faults that were really injected. */
  readonly done: Partial<Record<Fault, number>> = {};
  readonly #cluster: SimCluster;
  readonly #random: Prng;
  readonly #plan: Plan;
  /** Device id. */
  victim: number;
  readonly rings: RingChanges;
  #isOver = false;
  readonly #usualLinks = new Map<string, LinkOptions>();
  /** Ends of faults that last. */
  readonly #undo = new Set<() => void>();

  constructor(cluster: SimCluster, random: Prng, plan: Plan) {
    this.#cluster = cluster;
    this.rings = new RingChanges(cluster, cluster.world.random('rings'));
    this.#random = random;
    this.#plan = plan;
    const devices = cluster.shape.nodes.flatMap((node) => node.devices);
    this.victim = devices[random.integer(devices.length)]!;
  }

  start(): void {
    for (const [fault, rate] of this.#plan.rates) this.#schedule(fault, rate);
  }

  #schedule(fault: Fault, rate: number): void {
    const waitMs = this.#random.delay(MINUTE_MS / rate);
    this.#cluster.world.schedule(waitMs, `fault ${fault}`, () => {
      if (this.#isOver) return;
      if (this.#strike(fault)) this.done[fault] = (this.done[fault] ?? 0) + 1;
      this.#schedule(fault, rate);
    });
  }

  /** No more faults; what lasts ends now, who is down comes back. Clocks stay as they are. */
  stop(): void {
    this.#isOver = true;
    for (const undo of [...this.#undo]) undo();
    this.#cluster.world.network.heal();
    this.rings.stop();
    for (const node of this.#cluster.nodes) {
      node.machine.disk.faults.clear();
      if (!node.machine.isUp) node.start();
    }
    this.mend();
  }

  /** What a person does after a fault: who serves not all its devices is started again. */
  mend(): void {
    for (const node of this.#cluster.nodes) {
      const reports = node.process?.storage.reports();
      if (reports === undefined) continue;
      const isWhole = reports.length === node.shape.devices.length;
      if (isWhole && reports.every((report) => report.status === 'ok')) continue;
      node.kill();
      node.start();
    }
  }

  // --- one of each kind; false: nothing to do it to

  #strike(fault: Fault): boolean {
    this.#note(fault);
    switch (fault) {
      case 'ring-change':
        return this.rings.strike();
      case 'ring-lag':
        this.#later(1_000 + this.#random.delay(20_000), 'lag ends', this.rings.lag());
        return true;
      case 'kill':
        return this.#down((node) => node.kill(), 200, 20_000);
      case 'crash':
        return this.#down((node) => node.crash(this.#unsynced()), 500, 20_000);
      case 'away':
        return this.#down((node) => node.kill(), 5 * MINUTE_MS, 2 * HOUR_MS);
      case 'away-days':
        return this.#awayForDays();
      case 'blackout':
        return this.#blackout();
      case 'restart':
        return this.#restart();
      case 'stall':
        return this.#withNode((node) => node.machine.stall(this.#random.delay(3_000)));
      case 'partition-pair':
      case 'one-way':
      case 'partition-site':
      case 'drop-connections':
      case 'slow-link':
        return this.#disturbNetwork(fault);
      case 'slow-disk':
      case 'full-disk':
      case 'io-error':
      case 'flip-read':
        return this.#disturbDisk(fault);
      case 'clock-jump':
        return this.#withNode((node) => {
          const errorMs = Math.round((2 * this.#random.float() - 1) * MAX_CLOCK_ERROR_MS);
          this.#cluster.setClock(node, errorMs);
        });
      default:
        return this.#damage(fault);
    }
  }

  #note(fault: Fault): void {
    this.#log(`strike ${fault}`);
  }

  #log(event: string, facts: Record<string, unknown> = {}): void {
    const { world } = this.#cluster;
    world.log.add({ timeMs: world.nowMs, machine: 'nemesis', level: 'info', event, facts });
  }

  #withNode(act: (node: SimNode) => void): boolean {
    const up = this.#cluster.nodes.filter((node) => node.machine.isUp);
    if (up.length === 0) return false;
    const node = up[this.#random.integer(up.length)]!;
    this.#log('on', { node: node.name });
    act(node);
    return true;
  }

  #unsynced(): 'random' | 'lost' {
    return this.#random.chance(0.3) ? 'lost' : 'random';
  }

  #down(end: (node: SimNode) => void, minMs: number, maxMs: number): boolean {
    return this.#withNode((node) => {
      end(node);
      this.#later(minMs + this.#random.float() * (maxMs - minMs), `${node.name} starts`, () => {
        if (!node.machine.isUp) node.start();
      });
    });
  }

  /** One node misses what the others do before and after some days. */
  #awayForDays(): boolean {
    const days = this.#random.chance(0.3) ? 1 : 1 + this.#random.integer(20);
    this.#later(this.#random.delay(5_000), 'days pass', () =>
      this.#cluster.passTime(days * DAY_MS),
    );
    return this.#down((node) => node.kill(), 5_000, 30_000);
  }

  #blackout(): boolean {
    for (const node of this.#cluster.nodes) {
      if (!node.machine.isUp) continue;
      node.crash(this.#unsynced());
      this.#later(500 + this.#random.float() * 5_000, `${node.name} starts`, () => {
        if (!node.machine.isUp) node.start();
      });
    }
    return true;
  }

  #restart(): boolean {
    return this.#withNode((node) => {
      const { incarnation } = node.machine;
      void node.stop().then(() => {
        if (!node.machine.isUp && node.machine.incarnation === incarnation) node.start();
      });
    });
  }

  #disturbNetwork(fault: Fault): boolean {
    const { nodes, shape, world } = this.#cluster;
    const { network } = world;
    const [a, b] = this.#pair(nodes);
    const lastMs = 500 + this.#random.delay(10_000);
    switch (fault) {
      case 'partition-pair':
        network.partition([a.name], [b.name]);
        this.#later(lastMs, 'heal', () => this.#healBetween([a.name], [b.name]));
        return true;
      case 'one-way':
        network.cut(a.name, b.name);
        this.#later(lastMs, 'heal', () => network.heal(a.name, b.name));
        return true;
      case 'partition-site': {
        const site = shape.sites[this.#random.integer(shape.sites.length)]!;
        const inside = nodes.filter((node) => node.shape.site === site).map(({ name }) => name);
        const outside = nodes.filter((node) => node.shape.site !== site).map(({ name }) => name);
        if (outside.length === 0) return false;
        network.partition(inside, outside);
        this.#later(lastMs, 'heal', () => this.#healBetween(inside, outside));
        return true;
      }
      case 'drop-connections':
        network.dropConnections(a.name, this.#random.chance(0.5) ? b.name : undefined);
        return true;
      default: {
        const usual = this.#usualLink(a.name, b.name);
        network.setLinkBothWays(a.name, b.name, { delayMs: 50 + this.#random.delay(300) });
        this.#later(lastMs, 'link', () => network.setLinkBothWays(a.name, b.name, usual));
        return true;
      }
    }
  }

  /** As it was before any fault: one that is slow already may become slow again (brief seed 1137). */
  #usualLink(a: string, b: string): LinkOptions {
    const pair = [a, b].sort().join(' ');
    const usual = this.#usualLinks.get(pair) ?? this.#cluster.world.network.link(a, b);
    this.#usualLinks.set(pair, usual);
    return usual;
  }

  #healBetween(a: readonly string[], b: readonly string[]): void {
    for (const one of a) {
      for (const other of b) {
        this.#cluster.world.network.heal(one, other);
        this.#cluster.world.network.heal(other, one);
      }
    }
  }

  #disturbDisk(fault: Fault): boolean {
    const { nodes } = this.#cluster;
    let node = nodes[this.#random.integer(nodes.length)]!;
    let path = `/d${1 + this.#random.integer(node.shape.devices.length)}`;
    const operations = [['sync'], ['write'], ['read'], ['database']] as const;
    const failing = operations[this.#random.integer(operations.length)]!;
    const isDamage = failing[0] === 'read' || failing[0] === 'database';
    if (fault === 'flip-read' || (fault === 'io-error' && isDamage)) {
      // What can't be read, or was read wrong once, is taken for damaged: it counts as damage.
      node = this.#cluster.nodeOf(this.victim);
      path = node.devicePath(this.victim);
    }
    const { disk } = node.machine;
    const lastMs = 500 + this.#random.delay(8_000);
    this.#log('on', { node: node.name, path });
    if (fault === 'slow-disk') {
      const action = { kind: 'delay', ms: 20 + this.#random.delay(200) } as const;
      this.#later(lastMs, 'disk', disk.inject({ path, action, probability: 0.5 }));
    } else if (fault === 'full-disk') {
      disk.settings = {
        ...disk.settings,
        capacityBytes: disk.usedBytes + this.#random.integer(100_000),
      };
      this.#later(lastMs, 'disk', () => {
        disk.settings = { ...disk.settings, capacityBytes: DISK_BYTES };
      });
    } else if (fault === 'io-error') {
      const action = { kind: 'error', code: 'EIO' } as const;
      disk.inject({ path, operations: failing, action, times: 1 + this.#random.integer(3) });
      this.#later(lastMs + 5_000, `${node.name} mended`, () => {
        if (node.process === undefined) return;
        node.kill();
        node.start();
      });
    } else {
      const action = { kind: 'flip' } as const;
      disk.inject({ path, operations: ['read'], action, times: 1 + this.#random.integer(3) });
    }
    return true;
  }

  // --- damage

  #damage(fault: Fault): boolean {
    const node = this.#cluster.nodeOf(this.victim);
    const { disk } = node.machine;
    const root = node.devicePath(this.victim);
    this.#log('damage', { node: node.name, root });
    switch (fault) {
      case 'wipe':
        disk.wipe(root);
        this.#later(this.#random.delay(3_000), `${node.name} restarts`, () => {
          if (node.process === undefined) return;
          node.kill();
          node.start();
        });
        return true;
      case 'flip-log':
        return this.#flip(node, `${root}/log`);
      case 'flip-blob':
        return this.#flip(node, `${root}/blobs`);
      case 'flip-index':
        return this.#whileDown(node, () => this.#flipFile(node, `${root}/index.db`));
      case 'flip-rows':
        return this.#whileDown(node, () => this.#flipFile(node, `${root}/rows.db`));
      case 'lose-index':
        return this.#whileDown(node, () => this.#lose(node, `${root}/index.db`));
      case 'lose-rows':
        return this.#whileDown(node, () => this.#lose(node, `${root}/rows.db`));
      case 'revert-index':
      case 'revert-rows': {
        const file = `${root}/${fault === 'revert-index' ? 'index' : 'rows'}.db`;
        return this.#whileDown(node, () => {
          if (disk.find(file) === undefined) return false;
          disk.revertDatabase(file, 1 + this.#random.integer(5));
          return true;
        });
      }
      default: {
        const shiftBytes = (1 + this.#random.integer(64)) * 4096;
        const action = { kind: 'misdirect', shiftBytes } as const;
        disk.inject({ path: `${root}/log`, operations: ['write'], action, times: 1 });
        return true;
      }
    }
  }

  #flip(node: SimNode, folder: string): boolean {
    const { disk } = node.machine;
    const files = filesBelow(disk, folder);
    if (files.length === 0) return false;
    const flips = 1 + this.#random.integer(3);
    for (let i = 0; i < flips; i++) {
      this.#flipFile(node, files[this.#random.integer(files.length)]!);
    }
    return true;
  }

  #flipFile(node: SimNode, file: string): boolean {
    if (node.machine.disk.find(file) === undefined) return false;
    node.machine.disk.flipByte(file);
    return true;
  }

  #lose(node: SimNode, file: string): boolean {
    if (node.machine.disk.find(file) === undefined) return false;
    node.machine.disk.lose(file);
    return true;
  }

  /** Databases are damaged while nobody has them open. */
  #whileDown(node: SimNode, act: () => boolean): boolean {
    if (node.machine.isUp) node.kill();
    const isDone = act();
    this.#later(100 + this.#random.delay(1_000), `${node.name} starts`, () => {
      if (!node.machine.isUp) node.start();
    });
    return isDone;
  }

  /** For a failure's report. */
  victimsFiles(): string[] {
    const node = this.#cluster.nodeOf(this.victim);
    return filesBelow(node.machine.disk, node.devicePath(this.victim));
  }

  // --- helpers

  /** Happens later, or when the chaos is over. */
  #later(ms: number, label: string, act: () => void): void {
    const once = (): void => {
      if (!this.#undo.delete(once)) return;
      event.task = undefined;
      act();
    };
    this.#undo.add(once);
    const event = this.#cluster.world.schedule(ms, label, once);
  }

  #pair(nodes: readonly SimNode[]): [SimNode, SimNode] {
    const a = this.#random.integer(nodes.length);
    const b = (a + 1 + this.#random.integer(nodes.length - 1)) % nodes.length;
    return [nodes[a]!, nodes[b]!];
  }
}

type Disk = SimNode['machine']['disk'];

function filesBelow(disk: Disk, folder: string): string[] {
  const node = disk.find(folder);
  if (node?.kind !== 'directory') return [];
  const files: string[] = [];
  for (const name of [...node.entries.keys()].sort()) {
    const path = `${folder}/${name}`;
    const child = node.entries.get(name)!;
    if (child.kind === 'directory') files.push(...filesBelow(disk, path));
    else files.push(path);
  }
  return files;
}

/**
 * Versions that several proxies write and delete at once, while storage nodes crash: no version that was
 * acknowledged is lost, none that was deleted returns, and name, listing and versions agree in the end.
 */
import { describe, expect, it } from 'vitest';
import { codeOf, OperatingError } from '#base/errors.ts';
import {
  CONTAINER,
  collect,
  objectName,
  putRequest,
  TestCluster,
} from '../testing/test-cluster.ts';
import { type ListedVersion, VERSIONING_HEADER, type VersionedStore } from './contract.ts';
import { withVersions } from './versions.ts';

const NODES = ['lngs', 'bari', 'padova'] as const;
const KEYS = ['a', 'b'] as const;
const WORKERS = 6;
const STEPS = 8;
const PATIENCE_MS = 15_000;
const UNCERTAIN = new Set(['unavailable', 'undecided', 'no-container']);

class Trial {
  readonly cluster: TestCluster;
  /** What was acknowledged: text by key and version. */
  readonly kept = new Map<string, string>();
  readonly doomed = new Set<string>();
  readonly deleted = new Set<string>();
  readonly counts = { done: 0, uncertain: 0 };

  private constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  static async start(seed: number): Promise<Trial> {
    const cluster = await TestCluster.start({ seed, realRows: true, runJobs: true });
    await cluster.createContainer();
    const trial = new Trial(cluster);
    const operation = cluster.operation();
    // Before there are versions: the null version has to make room.
    const null0 = putRequest(Buffer.from('null'));
    await cluster.run(cluster.proxy.putObject(operation, objectName('a'), null0));
    const headers = { [VERSIONING_HEADER]: 'Enabled' };
    await cluster.run(cluster.proxy.updateContainer(operation, CONTAINER, headers));
    await cluster.run(cluster.node('lngs').env.clock.sleep(3_000));
    trial.kept.set('a null', 'null');
    return trial;
  }

  store(node: string): VersionedStore {
    const { proxy, env } = this.cluster.node(node);
    return withVersions(proxy, env);
  }

  async worker(number: number): Promise<void> {
    const random = this.cluster.world.random(`worker ${number}`);
    for (let step = 0; step < STEPS; step++) {
      const node = NODES[random.integer(NODES.length)]!;
      const key = KEYS[random.integer(KEYS.length)]!;
      try {
        await this.answered(this.step(node, key, `text ${number} ${step}`, random.float()));
        this.counts.done += 1;
      } catch (error) {
        expect([...UNCERTAIN], String(error)).toContain(codeOf(error));
        this.counts.uncertain += 1;
        await this.cluster.node('lngs').env.clock.sleep(200);
      }
    }
  }

  /** A proxy that is killed answers nothing; its client gives up. */
  async answered(work: Promise<void>): Promise<void> {
    const tooLate = this.cluster.node('lngs').env.clock.sleep(PATIENCE_MS);
    const giveUp = async (): Promise<never> => {
      await tooLate;
      throw new OperatingError('unavailable', 'no answer');
    };
    await Promise.race([work, giveUp()]);
  }

  async step(node: string, key: string, text: string, chance: number): Promise<void> {
    const operation = this.cluster.operation();
    const name = objectName(key);
    if (chance < 0.5) {
      const result = await this.store(node).putObject(
        operation,
        name,
        putRequest(Buffer.from(text)),
      );
      this.kept.set(`${key} ${result.versionId}`, text);
    } else if (chance < 0.65) await this.store(node).removeObject(operation, name);
    else {
      const mine = [...this.kept.keys()].filter((id) => id.startsWith(key) && !this.doomed.has(id));
      const id = mine[Math.floor(chance * 1000) % Math.max(1, mine.length)];
      if (id === undefined) return;
      this.doomed.add(id);
      const version = id.slice(key.length + 1);
      await this.store(node).removeObject(operation, { ...name, version });
      this.deleted.add(id);
    }
  }

  /** One node after the other dies and comes back. */
  async crashes(): Promise<void> {
    for (const node of ['padova', 'bari'] as const) {
      const { clock } = this.cluster.node('lngs').env;
      await clock.sleep(30);
      this.cluster.kill(node);
      await clock.sleep(400);
      await this.cluster.boot(node);
      await clock.sleep(300);
    }
  }

  async versions(node: string): Promise<ListedVersion[]> {
    const query = { limit: 1000 };
    const page = await this.store(node).listVersions(this.cluster.operation(), CONTAINER, query);
    return page!.items as ListedVersion[];
  }

  async read(key: string, version?: string): Promise<string | undefined> {
    const name = { ...objectName(key), ...(version !== undefined && { version }) };
    const reader = await this.store('bari').openObject(this.cluster.operation(), name);
    return reader && (await collect(reader.read(0, reader.length))).toString();
  }

  async check(): Promise<void> {
    const names = await this.store('lngs').listObjects(this.cluster.operation(), CONTAINER, {
      limit: 100,
    });
    const all = await this.versions('padova');
    const ids = new Set(all.map(({ key, versionId }) => `${key} ${versionId}`));
    for (const [id, text] of this.kept) {
      if (this.deleted.has(id)) expect(ids, `${id} was deleted`).not.toContain(id);
      if (this.doomed.has(id)) continue;
      expect(ids, `${id} was acknowledged`).toContain(id);
      const [key, version] = id.split(' ');
      expect(await this.read(key!, version)).toBe(text);
    }
    for (const key of KEYS) {
      const own = all.filter((version) => version.key === key);
      expect(own.filter(({ isLatest }) => isLatest).length).toBe(own.length > 0 ? 1 : 0);
      const latest = own[0];
      const shown = latest !== undefined && !latest.isMarker;
      expect(names!.items.some((item) => 'name' in item && item.name === key)).toBe(shown);
      const text = await this.read(key);
      expect(text !== undefined).toBe(shown);
      if (shown) expect(text).toBe(await this.read(key, latest.versionId));
    }
  }
}

describe('versions under way at several proxies', () => {
  it.each([1, 2, 3, 122])(
    'are neither lost nor found again (seed %i)',
    async (seed) => {
      const trial = await Trial.start(seed);
      const { cluster } = trial;
      const workers = Array.from({ length: WORKERS }, (_, number) => trial.worker(number));
      await cluster.run(Promise.all([...workers, trial.crashes()]));
      expect(trial.counts.done).toBeGreaterThan(0);
      await cluster.run(cluster.node('lngs').env.clock.sleep(20_000));
      // A name that points at nothing is mended by who reads it.
      for (const key of KEYS) await cluster.run(trial.read(key));
      await cluster.run(trial.check());
    },
    120_000,
  );
});

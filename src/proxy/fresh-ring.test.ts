/** An operation that devices refused for its ring: when it is done again, and when the client is told. */
import { describe, expect, it } from 'vitest';
import { codeOf, OperatingError } from '#base/errors.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { ViewSource } from '#ring/testing/view-source.ts';
import type { ProxyContext } from './context.ts';
import { withFreshRing } from './fresh-ring.ts';

class Bench {
  readonly world = new SimWorld({ seed: 1 });
  readonly source = new ViewSource({ version: 1 } as ClusterView);
  readonly env = this.world.machine('proxy').env;
  readonly #startMs = this.env.clock.monotonicMs();
  attempts = 0;

  get elapsedMs(): number {
    return this.env.clock.monotonicMs() - this.#startMs;
  }

  /** Refused with this code for so long. */
  async run(code: string, untilMs: number): Promise<string | undefined> {
    const { env, source: cluster } = this;
    const context = { env, cluster, metrics: { count: () => undefined } };
    const work = async () => {
      this.attempts++;
      if (this.elapsedMs < untilMs) {
        throw new OperatingError('unavailable', 'too few replicas', { codes: [code] });
      }
      return 'done';
    };
    return withFreshRing(context as unknown as ProxyContext, work);
  }
}

describe('devices that have not got the ring of an operation', () => {
  it.each(['ring-unknown', 'row-ring-unknown'])('are asked again soon (%s)', async (code) => {
    const bench = new Bench();
    expect(await bench.world.run(bench.run(code, 1_200))).toBe('done');
    expect(bench.attempts).toBe(5);
    expect(bench.elapsedMs).toBeLessThan(1_600);
  });

  it('are not waited for for ever', async () => {
    const bench = new Bench();
    expect(await bench.world.run(bench.run('ring-unknown', 60_000).catch(codeOf))).toBe(
      'unavailable',
    );
    expect(bench.elapsedMs).toBeLessThan(2_000);
  });
});

describe('devices that have a newer ring than the operation', () => {
  it('are asked again when it has come here', async () => {
    const bench = new Bench();
    bench.env.clock.setTimer(700, () => bench.source.publish({ version: 2 } as ClusterView));
    expect(await bench.world.run(bench.run('ring-old', 500))).toBe('done');
    expect(bench.attempts).toBe(2);
    expect(bench.elapsedMs).toBeLessThan(710);
  });

  it('are not asked again where it does not come', async () => {
    const bench = new Bench();
    expect(await bench.world.run(bench.run('ring-old', 500).catch(codeOf))).toBe('unavailable');
    expect(bench.attempts).toBe(1);
  });
});

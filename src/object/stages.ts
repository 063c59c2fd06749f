/**
 * Bodies that are on disk but not yet current, by stage id: between object.stage and object.write.
 * One that nobody commits (its proxy died) is abandoned after ten idle minutes; one of a process that
 * ended is swept by the device on its next start.
 */
import { OperatingError } from '#base/errors.ts';
import type { Device, StagedBody } from '#device/contract.ts';
import type { Env, Timer } from '#env/env.ts';

const IDLE_MS = 10 * 60_000;
const SWEEP_MS = 60_000;
const MAX_STAGES = 8_192;
const ID_BYTES = 12;

export interface Stage {
  readonly device: Device;
  readonly body: StagedBody;
  readonly path: string;
}

export class Stages {
  readonly #env: Env;
  readonly #stages = new Map<string, Stage & { readonly sinceMs: number }>();
  #timer: Timer | undefined;

  constructor(env: Env) {
    this.#env = env;
  }

  get size(): number {
    return this.#stages.size;
  }

  /** @throws OperatingError `overloaded` */
  add(stage: Stage): string {
    if (this.#stages.size >= MAX_STAGES) {
      throw new OperatingError('overloaded', 'too many staged bodies', { stages: MAX_STAGES });
    }
    const id = this.#env.random.bytes(ID_BYTES).toString('hex');
    this.#put(id, stage);
    return id;
  }

  /** Takes it out, so that two commits can't use it at once; `restore` puts it back. */
  take(id: string, device: Device): Stage | undefined {
    const stage = this.#stages.get(id);
    if (stage === undefined || stage.device !== device) return undefined;
    this.#stages.delete(id);
    return stage;
  }

  /** It stays here, for as long as one that has just come. */
  lend(id: string, device: Device): Stage | undefined {
    const stage = this.#stages.get(id);
    if (stage === undefined || stage.device !== device) return undefined;
    this.#put(id, stage);
    return stage;
  }

  restore(id: string, stage: Stage): void {
    this.#put(id, stage);
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    const stages = [...this.#stages.values()];
    this.#stages.clear();
    await Promise.allSettled(stages.map((stage) => stage.body.abandon()));
  }

  #put(id: string, { device, body, path }: Stage): void {
    this.#stages.set(id, { device, body, path, sinceMs: this.#env.clock.monotonicMs() });
    this.#timer ??= this.#env.clock.setTimer(SWEEP_MS, () => this.#sweep());
  }

  #sweep(): void {
    this.#timer = undefined;
    const before = this.#env.clock.monotonicMs() - IDLE_MS;
    for (const [id, stage] of this.#stages) {
      if (stage.sinceMs > before) continue;
      this.#stages.delete(id);
      this.#env.log.info('object.stage-expired', { stage: id, path: stage.path });
      void stage.body.abandon().catch(() => undefined); // the device's own sweep finds it on the next start
    }
    if (this.#stages.size > 0)
      this.#timer = this.#env.clock.setTimer(SWEEP_MS, () => this.#sweep());
  }
}

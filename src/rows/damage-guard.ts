/**
 * Whatever says that a rows database is damaged takes it out of use, until a start rebuilds it: nothing
 * is given out of it any more, and the mark beside the file tells the next start.
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { saysFileDamage } from '#env/tables.ts';
import { markDamaged } from './database-file.ts';

export class DamageGuard {
  readonly #env: Pick<Env, 'disk' | 'log'>;
  readonly #file: string;
  #damage: string | undefined;

  constructor(env: Pick<Env, 'disk' | 'log'>, file: string) {
    this.#env = env;
    this.#file = file;
  }

  /** Why the store is out of use. */
  get damage(): string | undefined {
    return this.#damage;
  }

  /** @throws OperatingError `rows-damaged` */
  run<Result>(body: () => Result): Result {
    if (this.#damage !== undefined) throw damaged(this.#damage);
    try {
      return body();
    } catch (error) {
      if (!saysRowsDamage(codeOf(error))) throw error;
      const why = messageOf(error);
      this.condemn(why);
      throw damaged(why, error);
    }
  }

  condemn(why: string): void {
    this.#damage = why;
    this.#env.log.error('rows.damaged', { file: this.#file, error: why });
    markDamaged(this.#env.disk, this.#file, why);
  }

  /** Undefined: it is damaged. */
  unlessDamaged<Result>(body: () => Result): Result | undefined {
    if (this.#damage !== undefined) return undefined;
    try {
      return this.run(body);
    } catch (error) {
      if (codeOf(error) !== 'rows-damaged') throw error;
      return undefined;
    }
  }
}

export function saysRowsDamage(code: string): boolean {
  return code === 'rows-damaged' || saysFileDamage(code);
}

function damaged(why: string, cause?: unknown): OperatingError {
  return new OperatingError('rows-damaged', why, {}, { cause });
}

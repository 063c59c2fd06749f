import { describe, expect, it } from 'vitest';
import { makeContent } from './content.ts';
import { NULL, VersionModel, type VersionOutcome, type VersionWrite } from './version-model.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** The first is acknowledged at 2, ... */
class History {
  readonly model = new VersionModel('/account/bucket/key', 'key');
  #now = 0;

  write(versionId: string | undefined, more: Partial<VersionWrite> = {}): VersionWrite {
    const { outcome = 'done' } = more;
    const id = this.model.writes.length + 1;
    const write: VersionWrite = {
      id,
      content: makeContent(id, 10),
      replaces: undefined,
      begun: ++this.#now,
      ended: outcome === 'undecided' ? NEVER : ++this.#now,
      outcome,
      versionId,
      mayBeNull: versionId === NULL,
      via: 'n',
      ...more,
    };
    this.model.writes.push(write);
    return write;
  }

  hide(versionId: string | undefined, outcome: VersionOutcome = 'done'): VersionWrite {
    return this.write(versionId, { content: undefined, outcome });
  }

  remove(versionId: string, outcome: VersionOutcome = 'done'): void {
    const begun = ++this.#now;
    const ended = outcome === 'done' ? ++this.#now : NEVER;
    this.model.removals.push({ versionId, begun, ended, outcome, via: 'n' });
  }

  /** Somebody looks now. */
  span() {
    return { begun: ++this.#now, ended: ++this.#now };
  }

  sees({ id, content }: VersionWrite, versionId: string): void {
    const { etag, size } = content!;
    this.model.sawVersion({ versionId, write: id, etag, size }, this.span(), 'get');
  }
}

describe('the checker of versions', () => {
  it('accepts what one container could have told', () => {
    const history = new History();
    const { model } = history;
    const first = history.write('1');
    const second = history.write('2');
    history.sees(first, '1');
    model.sawCurrent(second.id, history.span(), 'get');
    history.hide('3');
    model.sawNothing(history.span(), 'get');
    history.remove('3');
    model.sawCurrent(second.id, history.span(), 'get');
    history.remove('2');
    model.sawCurrent(first.id, history.span(), 'get');
    model.sawNoVersion('2', history.span(), 'get');
    expect(model.mustShow(first, history.span())).toBe(true);
    expect(model.mustShow(second, history.span())).toBe(false);
  });

  it('lets what was not answered have happened, or not', () => {
    const history = new History();
    const { model } = history;
    const first = history.write('1');
    const maybe = history.write(undefined, { outcome: 'undecided' });
    model.sawCurrent(first.id, history.span(), 'get');
    model.sawCurrent(maybe.id, history.span(), 'get');
    history.remove('1', 'undecided');
    model.sawNoVersion('1', history.span(), 'get');
    history.sees(first, '1');
    model.sawNothing(history.span(), 'get');
  });

  it.each<[string, (history: History) => void]>([
    [
      'a version that is lost',
      (history) => {
        history.write('1');
        history.model.sawNoVersion('1', history.span(), 'get');
      },
    ],
    [
      'a version that comes back',
      (history) => {
        const write = history.write('1');
        history.remove('1');
        history.sees(write, '1');
      },
    ],
    [
      'a null version that another has replaced',
      (history) => {
        const write = history.write(NULL);
        history.write(NULL);
        history.sees(write, NULL);
      },
    ],
    [
      'a null version that went with a version of its own',
      (history) => {
        history.write(NULL);
        history.write('2');
        history.model.sawNoVersion(NULL, history.span(), 'get');
      },
    ],
    [
      'an older version as the current one',
      (history) => {
        const write = history.write('1');
        history.write('2');
        history.model.sawCurrent(write.id, history.span(), 'get');
      },
    ],
    [
      'a deleted version as the current one',
      (history) => {
        const write = history.write('1');
        history.remove('1');
        history.model.sawCurrent(write.id, history.span(), 'get');
      },
    ],
    [
      'nothing, where the marker that hid it is deleted',
      (history) => {
        history.write('1');
        history.hide('2');
        history.remove('2');
        history.model.sawNothing(history.span(), 'get');
      },
    ],
    [
      'something, where a marker hides it',
      (history) => {
        history.write('1');
        history.hide('2');
        const other = history.write(undefined, { outcome: 'refused' });
        history.model.sawSomething(history.span(), 'put', other);
      },
    ],
    [
      'another ETag',
      (history) => {
        const { id } = history.write('1');
        const seen = { versionId: '1', write: id, etag: 'other', size: 10 };
        history.model.sawVersion(seen, history.span(), 'get');
      },
    ],
    [
      'a marker that nobody made',
      (history) => {
        history.write('1');
        const seen = { versionId: '2', write: undefined, etag: '', size: 0 };
        history.model.sawVersion(seen, history.span(), 'list');
      },
    ],
    ['a refused write', (history) => history.sees(history.write('1', { outcome: 'refused' }), '1')],
    [
      'two who replaced the same',
      (history) => {
        const replaces = history.write('1');
        history.write('2', { replaces });
        history.model.checkWinners(history.write('3', { replaces }));
      },
    ],
    [
      'a condition that holds, and was refused',
      (history) => {
        const replaces = history.write('1');
        const other = history.write(undefined, { outcome: 'refused', replaces });
        history.model.sawNotCurrent(replaces, history.span(), 'put', other);
      },
    ],
  ])('refuses %s', (_what, play) => {
    expect(() => play(new History())).toThrow('promise "versions: ');
  });
});

/**
 * The checker of one name in a container that keeps versions. It knows what clients asked for and were
 * told, in the order in which that happened, and nothing of how versions are kept.
 *
 * A write makes a version: one of its own, or the null version while versioning is suspended. Who looks
 * at something in a span of time is judged by what had ended before it began, and by what had begun
 * before it ended; what was never answered may have happened at any time, or not.
 */
import type { Content } from './content.ts';
import { Violation } from './model.ts';

export const NULL = 'null';

/** `refused`: the client was told that nothing was done. */
export type VersionOutcome = 'pending' | 'done' | 'undecided' | 'refused';

export interface Span {
  readonly begun: number;
  readonly ended: number;
}

interface Event {
  readonly begun: number;
  /** Infinity where there was no answer: it may happen late. */
  ended: number;
  outcome: VersionOutcome;
}

/** A version, or (without content) a delete marker. */
export interface VersionWrite extends Event {
  readonly id: number;
  readonly content: Content | undefined;
  /** What it was made for: the write that it was to replace, or nothing. */
  readonly replaces: VersionWrite | 'nothing' | undefined;
  /** Told with the answer. */
  versionId: string | undefined;
  /** Whether versioning may have been suspended, for the proxy that it was asked of. */
  mayBeNull: boolean;
  readonly via: string;
}

export interface VersionRemoval extends Event {
  readonly versionId: string;
  readonly via: string;
}

/** As a listing or a read tells of it; `write` undefined: a delete marker. */
export interface SeenVersion {
  readonly versionId: string;
  readonly write: number | undefined;
  readonly etag: string;
  readonly size: number;
}

export class VersionModel {
  /** Of the name, for messages. */
  readonly key: string;
  readonly name: string;
  readonly writes: VersionWrite[] = [];
  readonly removals: VersionRemoval[] = [];
  /** Ids that anybody was told, in an answer or by a listing. */
  readonly known = new Set<string>();

  constructor(key: string, name: string) {
    this.key = key;
    this.name = name;
  }

  byWrite(id: number): VersionWrite | undefined {
    return this.writes.find((write) => write.id === id);
  }

  /** A version that was read or listed by its id. */
  sawVersion(seen: SeenVersion, span: Span, by: string): void {
    if (seen.write === undefined) this.#sawMarker(seen.versionId, span, by);
    else this.#sawData(seen, seen.write, span, by);
    if (seen.versionId === NULL) return;
    this.known.add(seen.versionId);
    if (this.#isRemoved(seen.versionId, span)) {
      throw this.broken(
        'deleted stays deleted',
        `${by} shows ${seen.versionId}, which was deleted`,
      );
    }
  }

  #sawData({ versionId, etag, size }: SeenVersion, id: number, span: Span, by: string): void {
    const write = this.byWrite(id);
    if (write?.content === undefined) {
      throw this.broken('one version', `${by} shows put ${id}, which was never made`);
    }
    if (write.outcome === 'refused' && write.ended < span.begun) {
      throw this.broken('undecided', `${by} shows put ${id}, which was refused`);
    }
    if (etag !== write.content.etag || size !== write.content.size) {
      throw this.broken('one version', `${by} shows put ${id} with another etag or size`);
    }
    const isOld = write.outcome === 'done' && write.ended < span.begun;
    if (isOld && write.versionId !== versionId) {
      const told = `${by} shows put ${id} as ${versionId}, and it was told ${write.versionId}`;
      throw this.broken('one version', told);
    }
    if (versionId === NULL) this.#checkNull(write, span, by);
  }

  /** A null version that others have replaced or deleted since is gone. */
  #checkNull(write: VersionWrite, span: Span, by: string): void {
    const newer = this.#nulls().find(
      (other) => isDone(other) && isBetween(other, write, span) && other !== write,
    );
    if (newer === undefined) return;
    throw this.broken('deleted stays deleted', `${by} shows null ${write.id}: ${facts(newer)}`);
  }

  #sawMarker(versionId: string, span: Span, by: string): void {
    const markers = this.writes.filter(
      ({ content, outcome }) => content === undefined && outcome !== 'refused',
    );
    const may = markers.some((marker) => {
      if (marker.versionId !== undefined) {
        if (marker.versionId !== versionId) return false;
      } else if (versionId === NULL && !marker.mayBeNull) return false;
      if (marker.begun > span.ended) return false;
      return (
        versionId !== NULL ||
        !this.#nulls().some((other) => isDone(other) && isBetween(other, marker, span))
      );
    });
    if (!may) throw this.broken('one version', `${by} shows a delete marker ${versionId}`);
  }

  /** A version is said not to be there. */
  sawNoVersion(versionId: string, span: Span, by: string, except?: VersionRemoval): void {
    const isOther = (event: Event): boolean => event !== except && event.outcome !== 'refused';
    for (const write of this.writes) {
      if (!isDone(write) || write.versionId !== versionId || write.ended >= span.begun) continue;
      const mayBeGone =
        versionId === NULL
          ? this.#nulls().some(
              (other) =>
                isOther(other) && !isData(other) && isNotBefore(other, write) && isIn(other, span),
            )
          : this.removals.some(
              (removal) =>
                isOther(removal) && removal.versionId === versionId && isIn(removal, span),
            );
      if (mayBeGone) continue;
      throw this.broken('kept', `${by} does not find version ${versionId} of ${facts(write)}`);
    }
  }

  /** What is current was seen. */
  sawCurrent(id: number, span: Span, by: string, except?: VersionWrite): void {
    const write = this.byWrite(id);
    if (write === undefined) throw this.broken('one version', `${by} shows put ${id}: never made`);
    if (write.versionId !== undefined && this.#isGone(write, span)) {
      throw this.broken('deleted stays deleted', `${by} is ${facts(write)}, which was deleted`);
    }
    const newer = this.writes.find(
      (other) =>
        other !== except &&
        isDone(other) &&
        isBetween(other, write, span) &&
        !this.#mayBeGone(other, span),
    );
    if (newer === undefined) return;
    throw this.broken('read after write', `${by} is put ${id}: ${facts(newer)} is newer`);
  }

  /** Nothing is current: what was put must have been hidden, or deleted. */
  sawNothing(span: Span, by: string, except?: VersionWrite): void {
    for (const put of this.writes) {
      if (put.content === undefined || !isDone(put) || put.ended >= span.begun) continue;
      if (this.#mayBeGone(put, span)) continue;
      const isHidden = this.writes.some(
        (marker) =>
          marker !== except &&
          marker.content === undefined &&
          marker.outcome !== 'refused' &&
          isNotBefore(marker, put) &&
          isIn(marker, span) &&
          !this.#isGone(marker, span),
      );
      if (isHidden) continue;
      throw this.broken('honest 404', `${by} says that nothing is there; ${facts(put)} is`);
    }
  }

  /** Somebody was refused because something is there. */
  sawSomething(span: Span, by: string, except: VersionWrite): void {
    const may = this.writes.some((put) => {
      if (put === except || put.content === undefined || put.outcome === 'refused') return false;
      if (!isIn(put, span) || this.#isGone(put, span)) return false;
      return !this.writes.some(
        (marker) =>
          marker.content === undefined &&
          isDone(marker) &&
          isBetween(marker, put, span) &&
          !this.#mayBeGone(marker, span),
      );
    });
    if (!may)
      throw this.broken('deleted stays deleted', `${by}: something is there, and nothing is`);
  }

  /** Somebody was refused because this is not current. */
  sawNotCurrent(write: VersionWrite, span: Span, by: string, except: VersionWrite): void {
    if (!isDone(write) || write.ended >= span.begun || this.#mayBeGone(write, span)) return;
    const isReplaced = this.writes.some(
      (other) =>
        other !== write &&
        other !== except &&
        other.outcome !== 'refused' &&
        isNotBefore(other, write) &&
        isIn(other, span),
    );
    if (isReplaced) return;
    throw this.broken('read after write', `${by}: ${facts(write)} is current, and was not found`);
  }

  /** Two who have replaced the same thing: somebody must have brought it back between. */
  checkWinners(write: VersionWrite): void {
    const { replaces } = write;
    if (replaces === undefined) return;
    for (const other of this.writes) {
      if (other === write || !isDone(other) || other.replaces !== replaces) continue;
      const span = {
        begun: Math.min(write.begun, other.begun),
        ended: Math.max(write.ended, other.ended),
      };
      const deletions: Event[] = [...this.removals];
      if (replaces === 'nothing') {
        deletions.push(...this.writes.filter(({ content }) => content === undefined));
      }
      const isBack = deletions.some(
        (event) =>
          event !== write &&
          event !== other &&
          event.outcome !== 'refused' &&
          event.ended > span.begun &&
          isIn(event, span),
      );
      if (isBack) continue;
      const what = replaces === 'nothing' ? 'nothing' : `put ${replaces.id}`;
      throw this.broken('one winner', `${facts(other)} and ${facts(write)} replaced ${what}`);
    }
  }

  /** Whether a listing in this span has to show it. */
  mustShow(write: VersionWrite, span: Span): boolean {
    if (!isDone(write) || write.ended >= span.begun || this.#mayBeGone(write, span)) return false;
    if (write.versionId !== NULL) return true;
    return !this.#nulls().some(
      (other) =>
        other !== write &&
        other.outcome !== 'refused' &&
        isNotBefore(other, write) &&
        isIn(other, span),
    );
  }

  /** What makes, replaces or deletes the null version. */
  #nulls(): (VersionWrite | VersionRemoval)[] {
    const writes = this.writes.filter(({ versionId, mayBeNull }) =>
      versionId === undefined ? mayBeNull : versionId === NULL,
    );
    return [...writes, ...this.removals.filter(({ versionId }) => versionId === NULL)];
  }

  #isRemoved(versionId: string, span: Span): boolean {
    return this.removals.some(
      (removal) => isDone(removal) && removal.versionId === versionId && removal.ended < span.begun,
    );
  }

  /** Surely. */
  #isGone(write: VersionWrite, span: Span): boolean {
    if (write.versionId === undefined) return false;
    if (write.versionId !== NULL) return this.#isRemoved(write.versionId, span);
    return this.#nulls().some(
      (other) => other !== write && isDone(other) && isBetween(other, write, span),
    );
  }

  #mayBeGone(write: VersionWrite, span: Span): boolean {
    return this.removals.some(
      (removal) =>
        removal.outcome !== 'refused' &&
        removal.versionId === write.versionId &&
        isNotBefore(removal, write) &&
        isIn(removal, span),
    );
  }

  broken(promise: string, message: string): Violation {
    return new Violation(`versions: ${promise}`, `${this.key}: ${message}`, this.key);
  }

  history(): string[] {
    return [...this.writes, ...this.removals].sort((a, b) => a.begun - b.begun).map(facts);
  }
}

function isDone({ outcome }: Event): boolean {
  return outcome === 'done';
}

function isData(event: VersionWrite | VersionRemoval): boolean {
  return 'content' in event && event.content !== undefined;
}

/** It began after the other had ended, and ended before the span began. */
function isBetween(event: Event, other: Event, { begun }: Span): boolean {
  return event.begun > other.ended && event.ended < begun;
}

/** It may have happened after the other. */
function isNotBefore(event: Event, other: Event): boolean {
  return event.ended > other.begun;
}

function isIn({ begun }: Event, { ended }: Span): boolean {
  return begun < ended;
}

function facts(event: VersionWrite | VersionRemoval): string {
  const span = `${event.begun}-${Number.isFinite(event.ended) ? event.ended : ''}`;
  const { versionId, outcome, via } = event;
  if (!('id' in event)) return `${span} remove ${versionId} via ${via}: ${outcome}`;
  const { content, id, mayBeNull, replaces } = event;
  const what = content === undefined ? 'delete' : `put (${content.size} bytes)`;
  const told = versionId ?? (mayBeNull ? 'perhaps null' : 'unknown');
  const of =
    replaces === undefined
      ? ''
      : ` in place of ${typeof replaces === 'object' ? replaces.id : replaces}`;
  return `${span} ${what} ${id}${of} via ${via}: ${outcome} ${told}`;
}

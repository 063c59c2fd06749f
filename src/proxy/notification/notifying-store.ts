/**
 * A Store that tells: what changes an object of a bucket with notifications queues its events before it
 * answers, whichever API it came by.
 */
import { codeOf, messageOf } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Operation, Store } from '../contract.ts';
import { deletionOf, type VersionedStore } from '../versions/contract.ts';
import { eventBody, type ObjectEvent } from './event.ts';
import { EventQueue } from './event-queue.ts';
import {
  decodeNotification,
  NOTIFICATION_HEADER,
  type NotificationRule,
  rulesFor,
} from './rules.ts';

export interface NotifyingOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly region: string;
  /** What deletions are called; the lifecycle job's are not their owners'. */
  readonly deletion?: 'ObjectRemoved' | 'LifecycleExpiration';
}

export function notifyingStore(store: VersionedStore, options: NotifyingOptions): VersionedStore {
  const notifier = new Notifier(store, options);
  const { env, deletion = 'ObjectRemoved' } = options;
  const removeObject: VersionedStore['removeObject'] = async (operation, name, ...more) => {
    const removal = await store.removeObject(operation, name, ...more);
    if (removal.kind !== 'deleted') return removal;
    const { versionId, deleteMarker } = removal;
    const isMarker = deleteMarker === true && name.version === undefined;
    const what = isMarker ? 'DeleteMarkerCreated' : 'Delete';
    const micros = env.clock.wallMicros();
    await notifier.tell(operation, {
      ...{ name: `${deletion}:${what}`, object: name, micros, versionId },
    });
    return removal;
  };
  return {
    ...store,
    putObject: async (operation, name, request) => {
      const result = await store.putObject(operation, name, request);
      if (result.kind !== 'stored') return result;
      const isUpload = request.manifest?.kind === 'multipart';
      const cause = request.cause ?? (isUpload ? 'CompleteMultipartUpload' : 'Put');
      const { etag, size, clientMicros: micros, versionId } = result;
      const event = { name: `ObjectCreated:${cause}`, object: name, micros, etag, size, versionId };
      await notifier.tell(operation, event);
      return result;
    },
    deleteObject: async (operation, name, condition) =>
      deletionOf(await removeObject(operation, name, condition)),
    removeObject,
    updateGroups: async (operation, name, groups, ...more) => {
      const outcome = await store.updateGroups(operation, name, groups, ...more);
      if (outcome !== 'updated') return outcome;
      const micros = env.clock.wallMicros();
      for (const event of groupEvents(groups)) {
        await notifier.tell(operation, { name: event, object: name, micros });
      }
      return outcome;
    },
  };
}

function groupEvents(groups: Parameters<Store['updateGroups']>[2]): string[] {
  const { tags, acl } = groups;
  const cleared = tags !== undefined && Object.keys(tags).length === 0;
  return [
    ...(tags === undefined ? [] : [cleared ? 'ObjectTagging:Delete' : 'ObjectTagging:Put']),
    ...(acl === undefined ? [] : ['ObjectAcl:Put']),
  ];
}

/** The same operation, whoever leaves. Few are told of, so its signal is made on demand. */
function outliving({ txn }: Operation): Operation {
  let abort: AbortController | undefined;
  return {
    txn,
    read: 'quorum',
    get signal() {
      abort ??= new AbortController();
      return abort.signal;
    },
  };
}

class Notifier {
  readonly #store: Store;
  readonly #options: NotifyingOptions;
  readonly #queue: EventQueue;

  constructor(store: Store, options: NotifyingOptions) {
    this.#store = store;
    this.#options = options;
    this.#queue = new EventQueue(options.env, store);
  }

  /** @throws OperatingError: the event is not kept */
  async tell(by: Operation, event: ObjectEvent): Promise<void> {
    const { object } = event;
    // Containers of the store's own tell nobody.
    if (object.account.startsWith('.')) return;
    // The object is written: whether its client is still there does not matter any more.
    const operation = outliving(by);
    const rules = await this.#rulesOf(operation, object);
    for (const rule of rulesFor(rules, event.name, object.object)) {
      const body = eventBody(by, this.#options.region, event, rule);
      await this.#queue.add(operation, object, { url: rule.url, body });
    }
  }

  async #rulesOf(operation: Operation, object: ObjectName): Promise<readonly NotificationRule[]> {
    const info = await this.#store.containerInfo(operation, object, false);
    const text = info?.headers[NOTIFICATION_HEADER];
    if (text === undefined) return [];
    try {
      return decodeNotification(text);
    } catch (error) {
      if (codeOf(error) !== 'newer-format') throw error;
      this.#options.env.log.warn('s3.event-untold', { ...object, error: messageOf(error) });
      return []; // A proxy of the newer version knows what was meant.
    }
  }
}

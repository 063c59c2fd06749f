/** What must hold when all is at rest, asked through a proxy; each check says why it does not hold yet. */
import { userAccount } from '#base/names.ts';
import type { ListedObject } from '#proxy/contract.ts';
import { partsContainer, UPLOADS } from '#proxy/multipart/names.ts';
import type { SimNode } from './cluster.ts';
import { ACCOUNT, type Box, containerOf, objectOf, type Session, USERS } from './session.ts';

const PAGE = { limit: 1_000 };

export class FinalChecks {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** What can be read is listed, and what is listed can be read. */
  async listingShowsObjects(
    node: SimNode,
    box: Box,
    except: ReadonlySet<string>,
  ): Promise<string | undefined> {
    const listed = await this.#session.settle(node, ({ proxy }, operation) =>
      proxy.listObjects(operation, containerOf(box), PAGE),
    );
    if (listed.kind !== 'done') return 'the listing has no answer';
    const items = listed.result?.items ?? [];
    for (const model of box.keys) {
      if (except.has(model.key)) continue;
      const found = await this.#session.settle(node, ({ proxy }, operation) =>
        proxy.statObject(operation, objectOf(box, model)),
      );
      if (found.kind !== 'done') return `${model.key} has no answer`;
      const item = items.find((known) => 'name' in known && known.name === model.name);
      const row = item !== undefined && 'contentType' in item ? item.contentType : 'nothing';
      const object = found.result?.data?.contentType ?? 'nothing';
      if (row !== object) return `${model.key} is ${object}, and its listing shows ${row}`;
    }
    return undefined;
  }

  /** Containers count what they list, and the account adds up what its containers count. */
  async totalsAddUp(node: SimNode, boxes: readonly Box[]): Promise<string | undefined> {
    const sum = { containers: 0, objects: 0, bytes: 0 };
    const account = await this.#ask(node, ({ proxy }, operation) =>
      proxy.listContainers(operation, ACCOUNT, PAGE),
    );
    if (account === undefined) return this.#mayBeNoAccount(node, boxes);
    for (const box of boxes) {
      const page = await this.#ask(node, ({ proxy }, operation) =>
        proxy.listObjects(operation, containerOf(box), PAGE),
      );
      const row = account.items.find((item) => 'name' in item && item.name === box.name);
      if (page === undefined) {
        if (row !== undefined) return `${box.name} is gone, and the account lists it`;
        continue;
      }
      const bytes = page.items.reduce((all, item) => all + ('bytes' in item ? item.bytes : 0), 0);
      const counted = { objects: page.items.length, bytes };
      for (const [who, says] of [
        ['its totals', page.info],
        ['the account', row],
      ] as const) {
        const isSame =
          says !== undefined && 'objects' in says && says.objects === counted.objects
            ? says.bytes === counted.bytes
            : false;
        if (!isSame) return `${box.name} lists ${show(counted)}, and ${who} say ${show(says)}`;
      }
      sum.containers++;
      sum.objects += counted.objects;
      sum.bytes += counted.bytes;
    }
    const { containers, objects, bytes } = account.info;
    const isSum = containers === sum.containers && objects === sum.objects && bytes === sum.bytes;
    if (!isSum) return `the account counts ${show(account.info)} instead of ${show(sum)}`;
    for (const box of boxes) {
      const underWay = await this.#uploadsOf(node, box);
      sum.objects += underWay.length;
      sum.bytes += underWay.reduce((all, { bytes }) => all + bytes, 0);
    }
    return await this.#usersAddUp(node, sum);
  }

  /** The records of uploads that are under way are what users have written, too. */
  async #uploadsOf(node: SimNode, box: Box): Promise<readonly ListedObject[]> {
    const container = partsContainer(containerOf(box));
    const page = await this.#ask(node, ({ proxy }, operation) =>
      proxy.listObjects(operation, container, { ...PAGE, prefix: UPLOADS }),
    );
    return page?.items.filter((item) => 'bytes' in item) ?? [];
  }

  /** All that there is was written by one user or another. */
  async #usersAddUp(
    node: SimNode,
    sum: { readonly objects: number; readonly bytes: number },
  ): Promise<string | undefined> {
    const written = { objects: 0, bytes: 0 };
    for (const user of USERS) {
      const info = await this.#ask(node, ({ proxy }, operation) =>
        proxy.accountInfo(operation, userAccount(user)),
      );
      if (info === undefined) return 'what a user has written has no answer';
      written.objects += info.objects;
      written.bytes += info.bytes;
    }
    const isSum = written.objects === sum.objects && written.bytes === sum.bytes;
    return isSum ? undefined : `users have written ${show(written)} of ${show(sum)}`;
  }

  /** An account comes with its first container, and a short run may have made none. */
  async #mayBeNoAccount(node: SimNode, boxes: readonly Box[]): Promise<string | undefined> {
    for (const box of boxes) {
      const page = await this.#ask(node, ({ proxy }, operation) =>
        proxy.listObjects(operation, containerOf(box), PAGE),
      );
      if (page !== undefined) return `the account has no answer, and ${box.name} is there`;
    }
    return undefined;
  }

  /** Undefined: not there, or no answer (then the next round asks again). */
  async #ask<Result>(
    node: SimNode,
    run: Parameters<Session['settle']>[1] extends (...args: infer Args) => unknown
      ? (...args: Args) => Promise<Result | undefined>
      : never,
  ): Promise<Result | undefined> {
    const settled = await this.#session.settle(node, run);
    return settled.kind === 'done' ? settled.result : undefined;
  }
}

function show(totals: object | undefined): string {
  if (totals === undefined) return 'nothing';
  const { containers, objects, bytes } = totals as Record<string, unknown>;
  return JSON.stringify({ containers, objects, bytes });
}

/**
 * Policies of users, groups and roles in one project, by name: one record for each of them, so that
 * proxies find all that governs a caller by one look-up, and the limit on their sum holds.
 */
import { commit, type IdentityContext } from '../context.ts';
import { limitExceeded, noSuchEntity } from './faults.ts';
import type { IamKind } from './names.ts';

/** Characters of all policies of one, as IAM counts them: without white space. */
const MAX_CHARACTERS: Readonly<Record<IamKind, number>> = {
  user: 2048,
  group: 5120,
  role: 10_240,
};

export class PolicyBook {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async names(projectId: string, kind: IamKind, id: string): Promise<string[]> {
    const stored = await this.#context.store.policies.get(projectId, kind, id);
    return (stored?.fields.documents ?? []).map(({ name }) => name).sort();
  }

  async texts(projectId: string, kind: IamKind, id: string): Promise<string[]> {
    const stored = await this.#context.store.policies.get(projectId, kind, id);
    return (stored?.fields.documents ?? []).map(({ text }) => text);
  }

  /** @throws OperatingError `iam-no-such-entity` */
  async get(projectId: string, kind: IamKind, id: string, name: string): Promise<string> {
    const stored = await this.#context.store.policies.get(projectId, kind, id);
    const found = stored?.fields.documents.find((document) => document.name === name);
    if (found === undefined) throw noSuchEntity('policy', name);
    return found.text;
  }

  /** The text has been checked by whoever understands policies. */
  async put(
    projectId: string,
    kind: IamKind,
    id: string,
    document: { readonly name: string; readonly text: string },
  ): Promise<void> {
    await this.#change(projectId, kind, id, (documents) => {
      const others = documents.filter(({ name }) => name !== document.name);
      const all = [...others, document];
      const characters = all.reduce((sum, { text }) => sum + text.replace(/\s/g, '').length, 0);
      if (characters > MAX_CHARACTERS[kind]) {
        throw limitExceeded(`the size of all policies of a ${kind}`, MAX_CHARACTERS[kind]);
      }
      return all;
    });
  }

  /** @throws OperatingError `iam-no-such-entity` */
  async remove(projectId: string, kind: IamKind, id: string, name: string): Promise<void> {
    await this.#change(projectId, kind, id, (documents) => {
      const left = documents.filter((document) => document.name !== name);
      if (left.length === documents.length) throw noSuchEntity('policy', name);
      return left;
    });
  }

  async #change(
    projectId: string,
    kind: IamKind,
    id: string,
    change: (documents: readonly Document[]) => readonly Document[],
  ): Promise<void> {
    const { policies } = this.#context.store;
    const stored = await policies.get(projectId, kind, id);
    const documents = [...change(stored?.fields.documents ?? [])];
    const parts = [projectId, kind, id];
    const transaction = {
      compare: [
        stored === undefined ? policies.exists(false, ...parts) : policies.unchanged(stored),
      ],
      success: [
        documents.length === 0 ? policies.remove(...parts) : policies.put({ documents }, ...parts),
      ],
    };
    await commit(this.#context, transaction, 'The policies were changed at the same time.');
  }
}

interface Document {
  readonly name: string;
  readonly text: string;
}

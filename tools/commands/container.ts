/** `anello container`: one container's or account's replicas, and its policy. */
import type { Command } from 'commander';
import { addSetPolicy, movesOf } from '../container/policy.ts';
import { addShow } from '../placement/copies.ts';

export function register(program: Command): void {
  const container = program
    .command('container')
    .description("a container's or account's replicas: who has which rows; a container's policy");
  addShow(container, 'container', '/AUTH_demo/photos', movesOf);
  addSetPolicy(container);
}

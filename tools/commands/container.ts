/** `anello container`: one container's or account's replicas. */
import type { Command } from 'commander';
import { addShow } from '../placement/copies.ts';

export function register(program: Command): void {
  const container = program
    .command('container')
    .description("a container's or account's replicas: who has which rows");
  addShow(container, 'container', '/AUTH_demo/photos');
}

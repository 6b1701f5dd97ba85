import { CodedError } from '../../errors.js';
import type { Role, Roles } from '../../role/roles.js';
import type { OwnedFiles } from './files.js';

/** The picture that a session's tasks animate. */
export class SessionPortrait {
  readonly #roles: Roles;
  readonly #files: OwnedFiles;
  readonly #role: Role;
  #fileId: string | undefined;
  #making: Promise<string> | undefined;

  /** `fileId`: the client's own picture instead of the role's. */
  constructor(roles: Roles, files: OwnedFiles, role: Role, fileId: string | undefined) {
    this.#roles = roles;
    this.#files = files;
    this.#role = role;
    this.#fileId = fileId;
  }

  /** Undefined when the role's portrait was not needed yet. */
  get knownId(): string | undefined {
    return this.#fileId;
  }

  /** The picture's file; the role's portrait is copied once. Throws PORTRAIT_MISSING. */
  async id(): Promise<string> {
    if (this.#fileId !== undefined) return this.#fileId;
    this.#making ??= this.#copy().finally(() => (this.#making = undefined));
    return (this.#fileId = await this.#making);
  }

  async #copy(): Promise<string> {
    const portrait = await this.#roles.portrait(this.#role);
    if (portrait === undefined) throw portraitMissing();
    return (await this.#files.save(portrait.data, `portrait.${portrait.extension}`)).id;
  }
}

export function portraitMissing(): CodedError {
  return new CodedError(
    'PORTRAIT_MISSING',
    'video needs a picture: choose a role with a portrait, or give image_id, an uploaded picture',
  );
}

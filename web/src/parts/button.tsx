import type { ButtonHTMLAttributes } from 'preact';
import { Icon, type IconName } from './icon.js';

export interface ButtonProps extends Omit<ButtonHTMLAttributes, 'icon'> {
  readonly look?: 'main' | 'plain' | 'quiet' | 'danger';
  readonly icon?: IconName;
  /** Only the icon is seen; `children` is its name. */
  readonly isIconOnly?: boolean;
}

export function Button({ look = 'plain', icon, isIconOnly, children, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      class={`button button-${look}${isIconOnly ? ' button-icon' : ''}`}
      {...rest}
    >
      {icon && <Icon name={icon} />}
      {isIconOnly ? <span class="visually-hidden">{children}</span> : children}
    </button>
  );
}

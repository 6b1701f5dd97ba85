import type { ComponentChildren } from 'preact';
import { t } from '../i18n/index.js';
import { Button } from './button.js';
import { Icon } from './icon.js';

/** Something that went wrong, or is worth knowing; stays until it is closed or no longer true. */
export function Notice({
  kind = 'problem',
  children,
  actions,
  onClose,
}: {
  kind?: 'problem' | 'info';
  children: ComponentChildren;
  actions?: ComponentChildren;
  onClose?: () => void;
}) {
  return (
    <div class={`notice notice-${kind}`} role={kind === 'problem' ? 'alert' : 'status'}>
      <Icon name={kind === 'problem' ? 'warning' : 'info'} />
      <div class="notice-text">{children}</div>
      {actions}
      {onClose && (
        <Button look="quiet" icon="close" isIconOnly onClick={onClose}>
          {t().common.close}
        </Button>
      )}
    </div>
  );
}

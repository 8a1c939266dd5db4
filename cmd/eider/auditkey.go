package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

func (p *program) auditKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "key",
		Short:   "Make the key that signs the chain, and show what verifies it",
		Example: "  eider audit key new\n  eider audit key show",
	}
	cmd.AddCommand(p.auditKeyNewCommand(), p.auditKeyShowCommand())
	return cmd
}

func (p *program) auditKeyNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Print a new seed for EIDER_AUDIT_KEY, this once",
		Long: `Print a new seed for EIDER_AUDIT_KEY on standard output. It is kept nowhere: put it
into a secret store. Where there is a key already, write the new one before the old
one, separated by a comma, and take the old one away a day later.`,
		Example: "  eider audit key new | fly secrets import",
		RunE: func(*cobra.Command, []string) error {
			var seed [32]byte
			rand.Read(seed[:])
			p.say("the public key is %s", audit.NewKey(seed).Text())
			_, err := fmt.Fprintln(p.stdout, base64.StdEncoding.EncodeToString(seed[:]))
			return err
		},
	}
}

func (p *program) auditKeyShowCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the verifier keys of the chain, the newest first",
		Long: `Print the verifier keys of the chain, the newest first: what an auditor gives to
eider audit verify --key. He should have them from somewhere he trusts, once.`,
		Example: "  eider audit key show",
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := p.verifiers(cmd.Context(), dir)
			if err != nil {
				return fmt.Errorf("show audit keys: %w", err)
			}
			for _, key := range keys {
				if _, err := fmt.Fprintln(p.stdout, key); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "a data directory or a ledger.db (default that of the settings)")
	return cmd
}

func (p *program) verifiers(ctx context.Context, dir string) (keys []string, err error) {
	return keys, p.withChain(ctx, dir, "", func(r *remote) error {
		var answer struct{ Keys []string }
		err := r.ask(ctx, "/api/audit/keys", nil, &answer)
		keys = answer.Keys
		return err
	}, func(f *ledger.AuditFile) error {
		named, err := namedKeys(ctx, f)
		for _, key := range named {
			public, bad := base64.RawURLEncoding.DecodeString(key.text)
			if bad != nil || len(public) != ed25519.PublicKeySize {
				return fmt.Errorf("entry %d names no public key: eider audit verify says more", key.seq)
			}
			keys = append(keys, audit.VerifierText(f.Origin(), public))
		}
		return err
	})
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/eider-analytics/eider/store/audit"
)

// verifyEvidence verifies a proof or a report, of which no chain is needed.
func (p *program) verifyEvidence(path string, f verifyFlags) error {
	for _, kind := range sourceKinds {
		if *f.sources[kind] != "" || len(f.others) > 0 {
			return usageError{errors.New("a proof or a report is verified without a chain; give either")}
		}
	}
	o, err := f.options()
	if err != nil {
		return exitError{3, err}
	}
	text, err := readEvidence(path)
	if err != nil {
		return exitError{3, err}
	}
	var v verification
	switch {
	case audit.IsProof(text):
		v, err = proofOf(path, text, f.leaf, o)
	case audit.IsReport(text):
		v = reportOf(path, text, o)
	default:
		err = fmt.Errorf("%s: it is neither a proof of an entry nor a report; what a whole chain can be read from is named by a flag, as --ndjson", path)
	}
	if err != nil {
		return exitError{3, err}
	}
	return p.conclude(v, f.asJSON)
}

// readEvidence reads a file, of which it does not matter what is past the most that a
// proof or a report can have.
func readEvidence(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, audit.MaxEvidence+1))
}

func proofOf(path string, text []byte, leafFile string, o audit.Options) (verification, error) {
	v := verification{Source: "proof " + path}
	proof, err := audit.ParseProof(text)
	if err != nil {
		v.Report = audit.Unopened(err)
		return v, nil
	}
	if leafFile == "" {
		return v, errors.New("--leaf is needed: the proof says that a leaf is in the chain, and not what it says")
	}
	f, err := os.Open(leafFile)
	if err != nil {
		return v, fmt.Errorf("--leaf: %w", err)
	}
	defer f.Close()
	leaf, err := audit.FindLeaf(f, proof.Seq)
	if err != nil {
		return v, fmt.Errorf("--leaf %s: %w", leafFile, err)
	}
	v.Report = audit.VerifyProof(text, leaf, o)
	return v, nil
}

func reportOf(path string, text []byte, o audit.Options) verification {
	v := verification{Source: "report " + path}
	report, window := audit.VerifyReport(text, o)
	v.Report = report
	if report.Status == audit.Sound {
		v.Window = &window
	}
	return v
}

package main

import "sync"

// A bell tells everyone who listens that the chain has grown.
type bell struct {
	mu   sync.Mutex // guards ears
	ears []chan struct{}
	stop chan struct{}
	done chan struct{}
}

// ring returns a bell that tells of what comes from in.
func ring(in <-chan struct{}) *bell {
	b := &bell{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		for {
			select {
			case <-in:
				b.strike()
			case <-b.stop:
				return
			}
		}
	}()
	return b
}

func (b *bell) strike() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ear := range b.ears {
		select {
		case ear <- struct{}{}:
		default: // it has not listened to the last one yet
		}
	}
}

// listen returns what is signalled after the chain has grown. It holds one signal.
func (b *bell) listen() <-chan struct{} {
	ear := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ears = append(b.ears, ear)
	return ear
}

// Close ends the telling. It is called once.
func (b *bell) Close() {
	close(b.stop)
	<-b.done
}

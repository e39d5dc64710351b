// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

const (
	maxUDP      = 512
	idleTimeout = 10 * time.Second
)

// Serve answers on addr over UDP and TCP until ctx ends.
func (z Zone) Serve(ctx context.Context, addr string) error {
	var config net.ListenConfig
	packets, err := config.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return fmt.Errorf("listen on udp: %w", err)
	}
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("listen on tcp: %w", err), packets.Close())
	}
	ended := make(chan error, 2)
	go func() { ended <- z.servePackets(packets) }()
	go func() { ended <- z.serveStreams(listener) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = nil
	}
	return errors.Join(err, packets.Close(), listener.Close())
}

func (z Zone) servePackets(packets net.PacketConn) error {
	query := make([]byte, maxUDP)
	for {
		n, from, err := packets.ReadFrom(query)
		if err != nil {
			return fmt.Errorf("read query: %w", err)
		}
		reply, err := z.Answer(query[:n])
		if err != nil {
			slog.Warn("Dropped query", "from", from.String(), "err", err)
			continue
		}
		if len(reply) > maxUDP {
			reply = truncate(reply)
		}
		if _, err := packets.WriteTo(reply, from); err != nil {
			slog.Warn("Lost reply", "to", from.String(), "err", err)
		}
	}
}

// truncate keeps the header of a reply that is too long, marked so that the client asks again over TCP.
func truncate(reply []byte) []byte {
	header := append([]byte(nil), reply[:12]...)
	header[2] |= 0x02
	clear(header[4:])
	return header
}

func (z Zone) serveStreams(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			if err := z.serveStream(conn); err != nil {
				slog.Warn("Ended stream", "from", conn.RemoteAddr().String(), "err", err)
			}
		}()
	}
}

func (z Zone) serveStream(conn net.Conn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	for {
		if err := conn.SetDeadline(time.Now().Add(idleTimeout)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
		var length uint16
		if err := binary.Read(conn, binary.BigEndian, &length); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read length: %w", err)
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(conn, query); err != nil {
			return fmt.Errorf("read query: %w", err)
		}
		reply, err := z.Answer(query)
		if err != nil {
			return err
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(reply)))
		if _, err := conn.Write(append(framed, reply...)); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
}
